// A load generator for Socket.IO servers: one epoll thread, so that the server is what is measured.
//
//   loadgen echo       HOST PORT CONNS SECONDS WINDOW PAYLOAD [PID]   acknowledged events; WINDOW under way per connection
//   loadgen bcast      HOST PORT CONNS SECONDS WINDOW PAYLOAD [PID]   one asks for broadcasts; WINDOW under way in all
//   loadgen conn       HOST PORT CONNS SECONDS [PID]                  open CONNS WebSockets, then hold them for SECONDS
//   loadgen handshakes HOST PORT CONNS SECONDS [PID]                  polling handshakes, each on a new connection
//   loadgen browser    HOST PORT CONNS SECONDS [PID]                  what a browser does: poll, CONNECT, upgrade, leave
//
// The server acknowledges event "m" with its argument, and broadcasts the argument of event "b" as event "b". With the
// PID of the server its processor time (user and system) is read at the beginning and at the end of what is measured.
// Prints one line of JSON. Exit status 1 if anything was lost, doubled, reordered or refused: then no figure counts.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_WINDOW 64
#define RING 1024               // broadcasts under way at most
#define WARM_UP 1.0             // seconds before anything counts

typedef enum { CLOSED, DIALING, REQUESTED, OPENING, JOINING, READY } State;

typedef struct Conn {
  int fd;
  State state;
  char *buf;
  size_t len, cap;
  // echo: acknowledgements sent and received; bcast: the next broadcast expected
  uint64_t sent, received, times[MAX_WINDOW];
  // browser: 0 handshake, 1 POST, 2 GET, 3 waiting GET and probe, and the other half of the pair
  int step;
  struct Conn *peer;
  bool probe, released, probed;
  char sid[128];
} Conn;

static struct {
  const char *mode, *host, *port;
  int conns, window, payload_len;
  double seconds;
  char *payload;
  long pid;
} opt = {.window = 1, .payload_len = 64};

static Conn *conns;
static int poller, opening, ready;
static uint64_t count, failures, broadcasts;      // count: only while measuring
static uint64_t bcast_at[RING];
static int bcast_left[RING];
static bool measuring, finished;
static uint32_t *latencies;
static size_t n_latencies, cap_latencies;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(void) {
  if (!opt.pid) return 0;
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%ld/stat", opt.pid);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  char *p = strrchr(text, ')');                   // the name may hold anything
  unsigned long user = 0, system = 0;
  if (p) sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void fail(const char *why, ...) {
  if (failures++ < 5) {
    va_list args;
    va_start(args, why);
    vfprintf(stderr, why, args);
    va_end(args);
    fputc('\n', stderr);
  }
}

static void record(uint64_t since) {
  if (!measuring) return;
  if (n_latencies == cap_latencies) {
    cap_latencies = cap_latencies ? cap_latencies * 2 : 1 << 16;
    latencies = realloc(latencies, cap_latencies * sizeof *latencies);
  }
  latencies[n_latencies++] = (uint32_t)((now_ns() - since) / 1000);
}

static void hang_up(Conn *c) {
  if (c->state == CLOSED) return;
  if (c->state == READY) ready--; else opening--;
  close(c->fd);
  c->state = CLOSED;
  c->len = 0;
}

static void write_all(Conn *c, const char *data, size_t n) {
  if (send(c->fd, data, n, MSG_NOSIGNAL) != (ssize_t)n) {
    fail("the server does not take what it is sent");
    hang_up(c);
  }
}

static void ws_text(Conn *c, const char *text, size_t n) {
  static char frame[1 << 17];
  size_t head = 2;
  frame[0] = (char)0x81;
  if (n < 126) frame[1] = (char)(0x80 | n);
  else { frame[1] = (char)(0x80 | 126); frame[2] = (char)(n >> 8); frame[3] = (char)n; head = 4; }
  static const unsigned char mask[4] = {0x5a, 0x17, 0xc3, 0x88};
  memcpy(frame + head, mask, 4);
  head += 4;
  for (size_t i = 0; i < n; i++) frame[head + i] = (char)(text[i] ^ mask[i & 3]);
  write_all(c, frame, head + n);
}

static void dial(Conn *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct linger gone = {1, 0};                    // no port is left waiting
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(opt.port))};
  inet_pton(AF_INET, opt.host, &to.sin_addr);
  int index = (int)(c - conns);
  if (index >= 20000) {                           // more than one address has ports
    char own[32];
    snprintf(own, sizeof own, "127.0.0.%d", 2 + index / 20000);
    struct sockaddr_in from = {.sin_family = AF_INET};
    inet_pton(AF_INET, own, &from.sin_addr);
    bind(c->fd, (struct sockaddr *)&from, sizeof from);
  }
  c->state = DIALING;
  c->len = 0;
  opening++;
  if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) { fail("connect: %s", strerror(errno)); hang_up(c); return; }
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

// Requests.

static void get(Conn *c) {
  char text[512];
  int n = snprintf(text, sizeof text, "GET /socket.io/?EIO=4&transport=polling%s%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n", c->sid[0] ? "&sid=" : "", c->sid, opt.host, opt.port);
  write_all(c, text, (size_t)n);
}

static void post_connect(Conn *c) {
  char text[512];
  int n = snprintf(text, sizeof text, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 2\r\n\r\n40", c->sid, opt.host, opt.port);
  write_all(c, text, (size_t)n);
}

static void upgrade(Conn *c) {
  char text[512];
  int n = snprintf(text, sizeof text, "GET /socket.io/?EIO=4&transport=websocket%s%s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n", c->sid[0] ? "&sid=" : "", c->sid, opt.host, opt.port);
  write_all(c, text, (size_t)n);
}

static bool is(const char *mode) { return !strcmp(opt.mode, mode); }
static bool by_http(Conn *c) { return (is("handshakes") || is("browser")) && !c->probe; }

// What is measured.

static void send_echo(Conn *c) {
  static char text[1 << 17];
  int n = snprintf(text, sizeof text, "42%llu[\"m\",\"%s\"]", (unsigned long long)c->sent, opt.payload);
  c->times[c->sent++ % MAX_WINDOW] = now_ns();
  ws_text(c, text, (size_t)n);
}

static void send_bcast(void) {
  static char text[1 << 17];
  uint64_t number = broadcasts++;
  bcast_at[number % RING] = now_ns();
  bcast_left[number % RING] = opt.conns;
  int n = snprintf(text, sizeof text, "42[\"b\",[%llu,\"%s\"]]", (unsigned long long)number, opt.payload);
  ws_text(&conns[0], text, (size_t)n);
}

static void got_ack(Conn *c, const char *text, size_t n) {
  char *end;
  uint64_t id = strtoull(text, &end, 10);
  if (id != c->received) fail("acknowledgement %llu where %llu was due", (unsigned long long)id, (unsigned long long)c->received);
  size_t rest = n - (size_t)(end - text);
  if (rest != (size_t)opt.payload_len + 4 || memcmp(end + 2, opt.payload, (size_t)opt.payload_len)) fail("acknowledged with something else");
  record(c->times[c->received++ % MAX_WINDOW]);
  count += measuring;
  if (!finished) send_echo(c);
}

static void got_event(Conn *c, const char *text) {
  const char *digits = strchr(text, ',');
  while (digits && *digits && (*digits < '0' || *digits > '9')) digits++;
  uint64_t number = digits ? strtoull(digits, NULL, 10) : UINT64_MAX;
  if (number != c->received) fail("broadcast %llu where %llu was due", (unsigned long long)number, (unsigned long long)c->received);
  c->received = number + 1;
  count += measuring;
  if (--bcast_left[number % RING] == 0) {
    record(bcast_at[number % RING]);
    if (!finished) send_bcast();
  }
}

static void browser_done(Conn *half) {
  Conn *other = half->peer;
  count += measuring;
  hang_up(half);
  hang_up(other);
  Conn *poll = half->probe ? other : half, *probe = half->probe ? half : other;
  poll->step = 0;
  poll->sid[0] = 0;
  poll->released = probe->probed = false;
  if (!finished) dial(poll);
}

static void maybe_upgrade(Conn *poll, Conn *probe) {
  if (!poll->released || !probe->probed) return;
  ws_text(probe, "5", 1);
  browser_done(probe);
}

static void ws_packet(Conn *c, char *text, size_t n) {
  if (!n) return;
  if (c->probe) {
    if (n == 6 && !memcmp(text, "3probe", 6)) { c->probed = true; maybe_upgrade(c->peer, c); }
    else fail("the probe was answered with %.20s", text);
  } else if (text[0] == '2') ws_text(c, "3", 1);
  else if (text[0] == '0') { c->state = JOINING; ws_text(c, "40", 2); }
  else if (text[0] == '4' && text[1] == '0') { c->state = READY; opening--; ready++; }
  else if (text[0] == '4' && text[1] == '3') got_ack(c, text + 2, n - 2);
  else if (text[0] == '4' && text[1] == '2') got_event(c, text + 2);
  else fail("unexpected packet %.20s", text);
}

static void http_answer(Conn *c, char *body) {
  if (is("handshakes")) {
    if (strncmp(body, "0{\"sid\"", 7)) fail("no handshake: %.40s", body);
    count += measuring;
    hang_up(c);
    if (!finished) dial(c);
    return;
  }
  switch (c->step++) {
    case 0: {
      char *sid = strstr(body, "\"sid\":\"");
      if (!sid) { fail("no handshake: %.40s", body); return; }
      sid += 7;
      size_t n = strcspn(sid, "\"");
      memcpy(c->sid, sid, n < sizeof c->sid ? n : sizeof c->sid - 1);
      c->sid[n] = 0;
      post_connect(c);
      return;
    }
    case 1: if (strcmp(body, "ok")) fail("POST answered %.40s", body); get(c); return;
    case 2:
      if (strncmp(body, "40", 2)) fail("CONNECT answered %.40s", body);
      get(c);
      strcpy(c->peer->sid, c->sid);
      dial(c->peer);
      return;
    default:
      if (strcmp(body, "6")) fail("the waiting GET got %.40s", body);
      c->released = true;
      maybe_upgrade(c, c->peer);
  }
}

// Bytes.

static size_t take_http(Conn *c) {
  c->buf[c->len] = 0;
  char *end = strstr(c->buf, "\r\n\r\n");
  if (!end) return 0;
  if (strncmp(c->buf, "HTTP/1.1 200", 12)) { fail("refused: %.60s", c->buf); return c->len; }
  char *length = strcasestr(c->buf, "\r\ncontent-length:");
  if (!length || length > end) { fail("an answer without length"); return c->len; }
  size_t head = (size_t)(end + 4 - c->buf), n = strtoul(length + 17, NULL, 10);
  if (c->len < head + n) return 0;
  char saved = c->buf[head + n];
  c->buf[head + n] = 0;
  http_answer(c, c->buf + head);
  if (c->state != CLOSED && c->len) c->buf[head + n] = saved;
  return head + n;
}

static size_t take_upgrade(Conn *c) {
  c->buf[c->len] = 0;
  char *end = strstr(c->buf, "\r\n\r\n");
  if (!end) return 0;
  if (strncmp(c->buf, "HTTP/1.1 101", 12)) { fail("refused: %.60s", c->buf); hang_up(c); return 0; }
  c->state = OPENING;
  if (c->probe) ws_text(c, "2probe", 6);
  return (size_t)(end + 4 - c->buf);
}

static size_t take_frame(Conn *c, size_t at) {
  unsigned char *p = (unsigned char *)c->buf + at;
  size_t have = c->len - at, n, head = 2;
  if (have < 2) return 0;
  n = p[1] & 127;
  if (n == 126) { if (have < 4) return 0; n = (size_t)p[2] << 8 | p[3]; head = 4; }
  else if (n == 127) { if (have < 10) return 0; n = 0; for (int i = 2; i < 10; i++) n = n << 8 | p[i]; head = 10; }
  if (have < head + n) return 0;
  if ((p[0] & 15) == 8) { fail("closed by the server"); hang_up(c); return 0; }
  if ((p[0] & 15) == 1) {
    char *text = (char *)p + head, saved = text[n];
    text[n] = 0;
    ws_packet(c, text, n);
    if (c->state != CLOSED) text[n] = saved;
  }
  return head + n;
}

static void on_readable(Conn *c) {
  while (c->state != CLOSED) {
    if (c->cap - c->len < 4096) { c->cap = c->cap ? c->cap * 2 : 8192; c->buf = realloc(c->buf, c->cap); }
    ssize_t r = recv(c->fd, c->buf + c->len, c->cap - c->len - 1, 0);
    if (r < 0 && errno == EAGAIN) return;
    if (r <= 0) { fail("lost a connection"); hang_up(c); return; }
    bool drained = (size_t)r < c->cap - c->len - 1;
    c->len += (size_t)r;
    size_t at = 0, n;
    if (by_http(c)) at = take_http(c);
    else {
      if (c->state == REQUESTED) at = take_upgrade(c);
      if (c->state > REQUESTED) while ((n = take_frame(c, at)) > 0) { at += n; if (c->state == CLOSED) return; }
    }
    if (c->state == CLOSED || c->state == DIALING) return;
    memmove(c->buf, c->buf + at, c->len - at);
    c->len -= at;
    if (drained) return;
  }
}

static void on_dialed(Conn *c) {
  int error = 0;
  socklen_t n = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
  if (error) { fail("connect: %s", strerror(error)); hang_up(c); return; }
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
  c->state = REQUESTED;
  if (by_http(c)) get(c); else upgrade(c);
}

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static double percentile(double part) {
  if (!n_latencies) return 0;
  size_t index = (size_t)(part * (double)n_latencies);
  return latencies[index < n_latencies ? index : n_latencies - 1] / 1000.0;
}

int main(int argc, char **argv) {
  if (argc < 6) { fprintf(stderr, "usage: loadgen echo|bcast|conn|handshakes|browser HOST PORT CONNS SECONDS [WINDOW PAYLOAD] [PID]\n"); return 2; }
  opt.mode = argv[1]; opt.host = argv[2]; opt.port = argv[3]; opt.conns = atoi(argv[4]); opt.seconds = atof(argv[5]);
  bool messages = is("echo") || is("bcast");
  if (messages && argc > 7) { opt.window = atoi(argv[6]); opt.payload_len = atoi(argv[7]); }
  if (argc > (messages ? 8 : 6)) opt.pid = atol(argv[messages ? 8 : 6]);
  if (opt.window < 1 || opt.window > MAX_WINDOW || opt.payload_len < 0 || opt.payload_len > 65000) { fprintf(stderr, "WINDOW is 1 to %d, PAYLOAD up to 65000\n", MAX_WINDOW); return 2; }
  opt.payload = malloc((size_t)opt.payload_len + 1);
  memset(opt.payload, 'x', (size_t)opt.payload_len);
  opt.payload[opt.payload_len] = 0;
  struct rlimit files = {1048576, 1048576};
  setrlimit(RLIMIT_NOFILE, &files);
  poller = epoll_create1(0);
  int slots = is("browser") ? opt.conns * 2 : opt.conns;
  conns = calloc((size_t)slots, sizeof *conns);
  if (is("browser")) for (int i = 0; i < opt.conns; i++) {
    conns[i].peer = &conns[opt.conns + i];
    conns[opt.conns + i].peer = &conns[i];
    conns[opt.conns + i].probe = true;
  }

  bool churn = is("handshakes") || is("browser");
  uint64_t begun = now_ns(), connected_at = churn ? begun : 0, measured_from = 0;
  double cpu_at_start = cpu_seconds(), cpu_connected = 0, cpu_from = 0, cpu_to = 0, seconds = 0;
  int next = 0, connected = 0;
  struct epoll_event events[512];
  while (!finished) {
    while (next < opt.conns && (churn || opening < 200)) dial(&conns[next++]);
    int n = epoll_wait(poller, events, 512, 50);
    for (int i = 0; i < n; i++) {
      Conn *c = events[i].data.ptr;
      if (c->state == DIALING && (events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) on_dialed(c);
      if (c->state > DIALING && (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))) on_readable(c);
    }
    uint64_t t = now_ns();
    if (!connected_at && next == opt.conns && opening == 0) {
      connected_at = t;
      connected = ready;
      cpu_connected = cpu_seconds() - cpu_at_start;
      if (is("echo")) for (int i = 0; i < opt.conns; i++) for (int w = 0; w < opt.window; w++) send_echo(&conns[i]);
      if (is("bcast")) for (int w = 0; w < opt.window; w++) send_bcast();
    }
    if (!connected_at && (double)(t - begun) / 1e9 > 120) { fail("not all could connect"); break; }
    if (connected_at && !measured_from && (double)(t - connected_at) / 1e9 > WARM_UP) { measured_from = t; measuring = true; cpu_from = cpu_seconds(); }
    if (measured_from && (double)(t - measured_from) / 1e9 > opt.seconds) { seconds = (double)(t - measured_from) / 1e9; cpu_to = cpu_seconds(); measuring = false; finished = true; }
  }
  qsort(latencies, n_latencies, sizeof *latencies, by_value);
  double per_second = seconds > 0 ? (double)count / seconds : 0;
  double cpu_us = count ? (cpu_to - cpu_from) * 1e6 / (double)count : 0;
  double dialing = (double)(connected_at - begun) / 1e9;
  if (is("conn")) {
    per_second = dialing > 0 ? connected / dialing : 0;
    cpu_us = connected ? cpu_connected * 1e6 / connected : 0;
    if (ready != opt.conns) fail("%d of %d connections held", ready, opt.conns);
  }
  printf("{\"mode\":\"%s\",\"conns\":%d,\"count\":%llu,\"seconds\":%.3f,\"per_second\":%.1f,\"cpu_us\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"failures\":%llu}\n",
         opt.mode, opt.conns, (unsigned long long)(is("conn") ? (uint64_t)connected : count), seconds, per_second, cpu_us, percentile(0.5), percentile(0.99), percentile(1), (unsigned long long)failures);
  return failures ? 1 : 0;
}
