// What the parts of the load generator know of each other.
//
// main.c        options, the phases of a run, the answer
// scenarios.c   what each mode does and expects
// connection.c  sockets, HTTP answers and WebSocket frames
// meters.c      clocks, latencies, faults, and the server's /proc
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_WINDOW 64
#define MAX_PAYLOAD 65000
#define PARALLEL 200   // connections being opened at any moment

// ---- meters.c

// What goes wrong in a run. Any of it, and no figure of the run counts.
typedef enum { LOST, DOUBLED, REORDERED, CHANGED, REFUSED, BROKEN, FAULTS } Fault;
extern const char *const fault_names[FAULTS];
extern uint64_t faults[FAULTS];

void fault(Fault kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t faults_in_all(void);

uint64_t now_ns(void);
double cpu_seconds(long pid);    // user and system time of the process so far; 0 without a pid
long resident_kb(long pid);      // 0 without a pid

void latency_add(uint64_t since_ns);
double latency_ms(double part);  // 0.5 is the median; sorts at the first call

// A numbered stream: which numbers have come, and whether once and in order.
typedef struct {
  uint64_t next;     // the lowest number that has not come
  uint64_t beyond;   // bit i: next + i has come already
} Stream;

void stream_take(Stream *s, uint64_t number, uint64_t sent);
void stream_end(Stream *s, uint64_t sent);

// ---- connection.c

typedef enum { CLOSED, QUEUED, DIALING, POLLING, UPGRADING, PROBING, OPENING, JOINING, READY } State;
typedef struct { char *data; size_t length, room; } Buffer;

typedef struct Conn Conn;
struct Conn {
  int fd;
  State state;
  int step;              // browser: how many answers have come
  bool websocket;        // what the first request asks for; else polling
  Buffer in, out;
  char sid[64];          // of a polling session; empty before its handshake
  Conn *twin;            // browser: the probing WebSocket of a poller, and back
  uint64_t sent, sent_at[MAX_WINDOW];
  Stream answers;
};

void connections_init(const char *host, int port);
void connections_wait(int timeout_ms);     // hands what comes to the scenario; then dials what is queued
void conn_dial(Conn *c);                   // once the events at hand are done
void conn_drop(Conn *c);
void conn_get(Conn *c);                    // a polling GET: a handshake without a sid
void conn_post(Conn *c, const char *body);
void conn_text(Conn *c, const char *text, size_t length);

// ---- scenarios.c

typedef struct {
  const char *name;
  bool messages;                             // takes WINDOW and PAYLOAD
  bool opens;                                // what is measured is the opening of CONNS connections
  void (*open)(int index);
  void (*start)(void);                       // all are ready
  bool (*idle)(void);                        // nothing is under way any more
  void (*end)(void);                         // count what never came
  void (*on_answer)(Conn *c, char *body);    // to a polling request
  void (*on_event)(Conn *c, char *text, size_t length);   // an EVENT or ACK, from its type digit on
  void (*on_ready)(Conn *c);
} Scenario;

typedef struct {
  const Scenario *scenario;
  const char *host;
  int port, conns, window, payload_length;
  double seconds;
  bool keep_alive;
  long pid;
} Options;

typedef struct {
  bool measuring, finishing;                 // finishing: nothing new is begun
  int opening, ready;
  uint64_t count;                            // of what was asked for, while measuring
} Progress;

extern Options options;
extern Progress progress;

const Scenario *scenario_named(const char *name);
void scenario_prepare(void);
