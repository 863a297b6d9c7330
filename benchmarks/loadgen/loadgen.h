// What the parts of the load generator know of each other.
//
// main.c         options, and the answer
// run.c          the processes, and the phases of a run
// connection.c   sockets, HTTP answers and WebSocket frames
// scenarios.c    the modes, and the payload
//   echo.c fanout.c polls.c sessions.c   what each does and expects
// meters.c       clocks, latencies, faults, and /proc
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_WINDOW 64
#define MAX_PAYLOAD 1000000
#define MAX_PROCESSES 16
#define MAX_PORTS 16
#define MAX_PIDS 32
#define PARALLEL 200   // connections being opened by a process at any moment

// ---- meters.c

// What goes wrong in a run. Any of it, and no figure of the run counts.
typedef enum { LOST, DOUBLED, REORDERED, CHANGED, REFUSED, BROKEN, FAULTS } Fault;
extern const char *const fault_names[FAULTS];

#define BUCKETS 1728   // of latencies in microseconds: one each below 128, then 64 for each power of two

// What a process has counted. It lies in memory that all processes share.
typedef struct {
  uint64_t count, faults[FAULTS];
  uint64_t latencies[BUCKETS], slowest_us;
} Tally;

extern Tally *tally;   // this process's own

void fault(Fault kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef struct { long pid[MAX_PIDS]; int count; } Pids;

uint64_t now_ns(void);
double cpu_seconds(const Pids *pids);   // user and system time of the processes so far
long resident_kb(const Pids *pids);
long kernel_kb(void);                   // of the whole machine: slabs, and the buffers of TCP

void latency_add(uint64_t since_ns);
void tally_merge(Tally *sum, const Tally *one);
double latency_ms(const Tally *all, double part);   // 0.5 is the median

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
  int fd, number;        // number: among the connections of all processes
  State state;
  bool websocket;        // what the first request asks for; else polling
  bool settled;          // counted as ready, no longer as opening
  int step;              // of a scenario's own
  Buffer in, out;
  char sid[64];          // of a polling session; empty before its handshake
  Conn *twin;            // browser: the probing WebSocket of a poller, and back; polls: the connection for POST
  uint64_t sent, sent_at[MAX_WINDOW];
  Stream answers;
  uint64_t binary;       // 1 + the number of the event whose attachment is due
  uint64_t ping_due, ping_interval;   // ns
};

void connections_init(void);
void connections_wait(int timeout_ms);     // hands what comes to the scenario; then dials what is queued
void conn_dial(Conn *c);                   // once the events at hand are done
void conn_drop(Conn *c);
void conn_settle(Conn *c);                 // it is ready
void conn_get(Conn *c);                    // a polling GET: a handshake without a sid
void conn_post(Conn *c, const char *body, size_t length);
void conn_text(Conn *c, const char *text, size_t length);
void conn_binary(Conn *c, const char *data, size_t length);

// ---- scenarios.c

typedef struct {
  const char *name;
  bool messages;                             // takes WINDOW and PAYLOAD
  bool opens;                                // what is measured is the opening of CONNS connections
  bool alone;                                // cannot be shared among processes
  void (*open)(int index);
  void (*start)(void);                       // all are ready
  bool (*idle)(void);                        // nothing is under way any more
  void (*end)(void);                         // count what never came
  uint64_t (*tick)(void);                    // do what is due; ns until it wants to be called again
  void (*on_dialed)(Conn *c);                // instead of the first request
  void (*on_answer)(Conn *c, char *body, size_t length);    // to a polling request
  void (*on_event)(Conn *c, char *text, size_t length);     // an EVENT or ACK, from its type digit on
  void (*on_attachment)(Conn *c, char *data, size_t length);
  void (*on_ready)(Conn *c);
  void (*on_ping)(Conn *c);
} Scenario;

typedef struct {
  const Scenario *scenario;
  const char *host;
  int ports[MAX_PORTS], port_count;
  int conns, window, payload_length, processes, room;
  double seconds, warm_up, patience;
  double rate;                               // events a second, of all connections and processes
  bool keep_alive, binary;
  Pids servers, beside;
} Options;

// Of this process.
typedef struct {
  bool measuring, finishing;                 // finishing: nothing new is begun
  int process, conns, first;                 // its share of the connections, and the number of the first
  int opening, ready;
} Progress;

extern Options options;
extern Progress progress;
extern Conn *conns, *twins;

const Scenario *scenario_named(const char *name);
void scenario_prepare(void);
void websocket_open(int index);
void polling_open(int index);
bool nothing_opens(void);

// The payload of a stream's message: it begins with the stream and the number, as far as there is room.
char *payload_for(int stream, uint64_t number);
bool payload_is(const char *data, size_t length, int stream, uint64_t number);
bool takes(const char **at, const char *end, const char *due);   // steps over what is due, if it is there

extern const Scenario echo, open_loop, bcast, rooms, polls, conn, hold, browser, handshakes;

// ---- run.c

typedef struct { double seconds, cpu, beside_cpu; long grown_kb, servers_kb, beside_kb, kernel_kb; } Measured;

// Runs all processes and adds up what they counted.
void run(Tally *all, Measured *measured);
