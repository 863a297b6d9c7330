// Sockets, HTTP answers and WebSocket frames, in one epoll loop.
//
// Rule: a connection is dialed only between two rounds of events, so that no event of its former socket reaches it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

#define EVENTS 512
#define PORTS_PER_ADDRESS 20000

static struct sockaddr_in servers[MAX_PORTS];
static char authorities[MAX_PORTS][64];
static int poller;
static uint64_t dialed;
static Conn **queue;
static size_t queued, queue_room;

void connections_init(void) {
  for (int i = 0; i < options.port_count; i++) {
    servers[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)options.ports[i])};
    if (inet_pton(AF_INET, options.host, &servers[i].sin_addr) != 1) {
      fprintf(stderr, "HOST: %s is not an IPv4 address\n", options.host);
      exit(2);
    }
    snprintf(authorities[i], sizeof authorities[i], "%s:%d", options.host, options.ports[i]);
  }
  poller = epoll_create1(0);
}

static void buffer_reserve(Buffer *b, size_t more) {
  if (b->room - b->length >= more) return;
  while (b->room - b->length < more) b->room = b->room ? b->room * 2 : 4096;
  b->data = realloc(b->data, b->room);
  if (!b->data) abort();
}

static void buffer_consume(Buffer *b, size_t n) {
  memmove(b->data, b->data + n, b->length - n);
  b->length -= n;
}

static void watch(Conn *c, int operation, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(poller, operation, c->fd, &e);
}

// ---- opening and closing

void conn_dial(Conn *c) {
  if (queued == queue_room) {
    queue_room = queue_room ? queue_room * 2 : 256;
    queue = realloc(queue, queue_room * sizeof *queue);
    if (!queue) abort();
  }
  c->state = QUEUED;
  progress.opening++;
  queue[queued++] = c;
}

static void dial_now(Conn *c) {
  c->in.length = c->out.length = 0;
  c->state = DIALING;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) {
    fault(REFUSED, "socket: %s", strerror(errno));
    c->state = CLOSED;
    progress.opening--;
    return;
  }
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  // Closed at once, so that no port stays behind in TIME_WAIT.
  struct linger at_once = {.l_onoff = 1, .l_linger = 0};
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  // One address has too few ports for all the connections that a server can hold.
  struct sockaddr_in *server = &servers[c->number % options.port_count];
  uint64_t own_addresses = 250 / (uint64_t)options.processes;
  uint64_t address = (uint64_t)progress.process * own_addresses + dialed++ / PORTS_PER_ADDRESS % own_addresses;
  if (address && ntohl(server->sin_addr.s_addr) >> 24 == 127) {
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001u + (uint32_t)address)};
    bind(c->fd, (struct sockaddr *)&own, sizeof own);
  }
  if (connect(c->fd, (struct sockaddr *)server, sizeof *server) < 0 && errno != EINPROGRESS) {
    fault(REFUSED, "connect: %s", strerror(errno));
    conn_drop(c);
    return;
  }
  watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

void conn_settle(Conn *c) {
  c->settled = true;
  progress.opening--;
  progress.ready++;
}

void conn_drop(Conn *c) {
  if (c->state == CLOSED) return;
  if (c->settled) progress.ready--; else progress.opening--;
  c->settled = false;
  close(c->fd);
  c->state = CLOSED;
}

// ---- writing

static void flush(Conn *c) {
  ssize_t n = send(c->fd, c->out.data, c->out.length, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) {
    fault(BROKEN, "send: %s", strerror(errno));
    conn_drop(c);
    return;
  }
  if (n > 0) buffer_consume(&c->out, (size_t)n);
  watch(c, EPOLL_CTL_MOD, c->out.length ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void write_bytes(Conn *c, const char *data, size_t length) {
  if (c->state == CLOSED) return;
  if (!c->out.length) {
    ssize_t n = send(c->fd, data, length, MSG_NOSIGNAL);
    if (n == (ssize_t)length) return;
    if (n > 0) { data += n; length -= (size_t)n; }
  }
  buffer_reserve(&c->out, length);
  memcpy(c->out.data + c->out.length, data, length);
  c->out.length += length;
  flush(c);
}

static void request(Conn *c, const char *method, const char *transport, const char *headers) {
  char text[768];
  int n = snprintf(text, sizeof text, "%s /socket.io/?EIO=4&transport=%s%s%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, transport,
                   c->sid[0] ? "&sid=" : "", c->sid, authorities[c->number % options.port_count], headers);
  write_bytes(c, text, (size_t)n);
}

void conn_get(Conn *c) { request(c, "GET", "polling", ""); }

// Small bodies leave together with their head, as clients do it.
void conn_post(Conn *c, const char *body, size_t length) {
  static char whole[2048];
  char headers[96];
  int n = snprintf(headers, sizeof headers, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n", length);
  if (length > sizeof whole - 1024) {
    request(c, "POST", "polling", headers);
    write_bytes(c, body, length);
    return;
  }
  n = snprintf(whole, sizeof whole, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", c->sid,
               authorities[c->number % options.port_count], headers);
  memcpy(whole + n, body, length);
  write_bytes(c, whole, (size_t)n + length);
}

static void upgrade(Conn *c) {
  request(c, "GET", "websocket",
          "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: bG9hZGdlbmVyYXRvcjAwMA==\r\n");
}

static void write_frame(Conn *c, int opcode, const char *data, size_t length) {
  static const unsigned char mask[4] = {0x5a, 0x17, 0xc3, 0x88};
  static char frame[MAX_PAYLOAD + 512];
  int wide = length < 126 ? 0 : length < 65536 ? 2 : 8;
  size_t head = 2 + (size_t)wide;
  frame[0] = (char)(0x80 | opcode);
  frame[1] = (char)(0x80 | (wide == 0 ? length : wide == 2 ? 126 : 127));
  for (int i = 0; i < wide; i++) frame[2 + i] = (char)(length >> 8 * (wide - 1 - i));
  memcpy(frame + head, mask, 4);
  head += 4;
  for (size_t i = 0; i < length; i++) frame[head + i] = (char)(data[i] ^ mask[i & 3]);
  write_bytes(c, frame, head + length);
}

void conn_text(Conn *c, const char *text, size_t length) { write_frame(c, 1, text, length); }
void conn_binary(Conn *c, const char *data, size_t length) { write_frame(c, 2, data, length); }

// ---- reading

static void on_opened(Conn *c, const char *text) {
  char *interval = strstr(text, "\"pingInterval\":");
  if (interval) c->ping_interval = strtoull(interval + 15, NULL, 10) * 1000000;
  c->ping_due = now_ns() + c->ping_interval;
  c->state = JOINING;
  conn_text(c, "40", 2);
}

static void on_packet(Conn *c, char *text, size_t n) {
  const Scenario *s = options.scenario;
  if (n == 1 && text[0] == '2') {
    conn_text(c, "3", 1);
    if (s->on_ping) s->on_ping(c);
  } else if (c->state == PROBING && n == 6 && !memcmp(text, "3probe", 6)) {
    c->state = OPENING;
    s->on_ready(c);
  } else if (c->state == OPENING && text[0] == '0') on_opened(c, text);
  else if (c->state == JOINING && n > 1 && text[0] == '4' && text[1] == '0') {
    c->state = READY;
    conn_settle(c);
    if (s->on_ready) s->on_ready(c);
  } else if (n > 1 && text[0] == '4' && strchr("236", text[1]) && s->on_event) s->on_event(c, text + 1, n - 1);
  else fault(CHANGED, "unexpected packet %.40s", text);
}

// Takes one frame from the buffer at `at`; the bytes taken, 0 if it is not complete. Text is ended by a NUL meanwhile.
static size_t take_frame(Conn *c, size_t at) {
  unsigned char *p = (unsigned char *)c->in.data + at;
  size_t have = c->in.length - at, head = 2;
  if (have < 2) return 0;
  size_t n = p[1] & 127;
  int wide = n == 126 ? 2 : n == 127 ? 8 : 0;
  head += (size_t)wide;
  if (have < head) return 0;
  if (wide) n = 0;
  for (int i = 0; i < wide; i++) n = n << 8 | p[2 + i];
  if (have < head + n) return 0;
  char *data = (char *)p + head, next = data[n];
  data[n] = 0;
  switch (p[0]) {
    case 0x81: on_packet(c, data, n); break;
    case 0x82:
      if (options.scenario->on_attachment) options.scenario->on_attachment(c, data, n);
      else fault(CHANGED, "unexpected binary frame");
      break;
    case 0x89: write_frame(c, 10, data, n); break;
    case 0x88: fault(BROKEN, "closed by the server"); conn_drop(c); break;
    default: fault(CHANGED, "unexpected frame, first byte %02x", p[0]);
  }
  data[n] = next;
  return head + n;
}

// Takes the answer to an upgrade request; the bytes of its head, 0 if it is not complete.
static size_t take_upgrade(Conn *c) {
  char *end = strstr(c->in.data, "\r\n\r\n");
  if (!end) return 0;
  if (strncmp(c->in.data, "HTTP/1.1 101 ", 13)) {
    fault(REFUSED, "%.60s", c->in.data);
    conn_drop(c);
    return 0;
  }
  c->state = c->sid[0] ? PROBING : OPENING;
  if (c->state == PROBING) conn_text(c, "2probe", 6);
  return (size_t)(end + 4 - c->in.data);
}

// The bytes that a body in chunks takes, 0 if it is not complete.
static size_t chunks_take(const char *body, const char *end) {
  for (const char *at = body; memchr(at, '\n', (size_t)(end - at));) {
    char *rest;
    size_t n = strtoul(at, &rest, 16);
    if ((size_t)(end - rest) < n + 4) return 0;
    at = rest + 2 + n + 2;
    if (n == 0) return (size_t)(at - body);
  }
  return 0;
}

// Puts the chunks of a whole body together; the length of what they hold.
static size_t join_chunks(char *body) {
  char *to = body, *rest;
  for (char *from = body;;) {
    size_t n = strtoul(from, &rest, 16);
    if (n == 0) return (size_t)(to - body);
    memmove(to, rest + 2, n);
    to += n;
    from = rest + 2 + n + 2;
  }
}

// Takes one whole answer to a polling request and hands its body on; the bytes taken, 0 if it is not complete.
static size_t take_answer(Conn *c) {
  char *end = strstr(c->in.data, "\r\n\r\n");
  if (!end) return 0;
  char *length = strcasestr(c->in.data, "\r\ncontent-length:");
  char *chunked = strcasestr(c->in.data, "\r\ntransfer-encoding: chunked");
  bool known = length && length < end, chunks = chunked && chunked < end;
  if (strncmp(c->in.data, "HTTP/1.1 200 ", 13) || known == chunks) {
    fault(REFUSED, "%.60s", c->in.data);
    conn_drop(c);
    return 0;
  }
  char *body = end + 4;
  size_t head = (size_t)(body - c->in.data);
  size_t taken = known ? strtoul(length + 17, NULL, 10) : chunks_take(body, c->in.data + c->in.length);
  if ((chunks && !taken) || c->in.length < head + taken) return 0;
  size_t n = chunks ? join_chunks(body) : taken;
  char next = body[n];
  body[n] = 0;
  options.scenario->on_answer(c, body, n);
  body[n] = next;
  return head + taken;
}

static void on_readable(Conn *c) {
  buffer_reserve(&c->in, c->in.length > 4096 ? c->in.length : 4096);
  ssize_t n = recv(c->fd, c->in.data + c->in.length, c->in.room - c->in.length - 1, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    fault(BROKEN, "%s", n ? strerror(errno) : "ended by the server");
    conn_drop(c);
    return;
  }
  c->in.length += (size_t)n;
  c->in.data[c->in.length] = 0;
  size_t at = 0, taken = 0;
  if (c->state == POLLING) at = take_answer(c);
  if (c->state == UPGRADING) at = take_upgrade(c);
  while (c->state >= PROBING && (taken = take_frame(c, at))) at += taken;
  if (c->state > DIALING) buffer_consume(&c->in, at);
}

static void on_dialed(Conn *c) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) {
    fault(REFUSED, "connect: %s", strerror(error));
    conn_drop(c);
    return;
  }
  watch(c, EPOLL_CTL_MOD, EPOLLIN);
  c->state = c->websocket ? UPGRADING : POLLING;
  if (options.scenario->on_dialed) options.scenario->on_dialed(c);
  else if (c->websocket) upgrade(c);
  else conn_get(c);
}

static int wait_for_events(struct epoll_event *events, int timeout_ms) {
  uint64_t wait = (uint64_t)timeout_ms * 1000000;
  uint64_t due = options.scenario->tick ? options.scenario->tick() : wait;
  if (due < wait) wait = due;
  struct timespec timeout = {.tv_nsec = (long)(wait % 1000000000), .tv_sec = (time_t)(wait / 1000000000)};
  return epoll_pwait2(poller, events, EVENTS, &timeout, NULL);
}

void connections_wait(int timeout_ms) {
  static struct epoll_event events[EVENTS];
  for (size_t i = 0; i < queued; i++) dial_now(queue[i]);
  queued = 0;
  int n = wait_for_events(events, timeout_ms);
  for (int i = 0; i < n; i++) {
    Conn *c = events[i].data.ptr;
    uint32_t what = events[i].events;
    if (c->state == DIALING) on_dialed(c);
    else if (c->state > DIALING && what & EPOLLOUT) flush(c);
    if (c->state > DIALING && what & (EPOLLIN | EPOLLERR | EPOLLHUP)) on_readable(c);
  }
}
