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
#include <unistd.h>

#include "loadgen.h"

#define EVENTS 512
#define PORTS_PER_ADDRESS 20000

static struct sockaddr_in server;
static char authority[64];
static int poller;
static uint64_t dialed;
static Conn **queue;
static size_t queued, queue_room;

void connections_init(const char *host, int port) {
  server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &server.sin_addr) != 1) {
    fprintf(stderr, "HOST: %s is not an IPv4 address\n", host);
    exit(2);
  }
  snprintf(authority, sizeof authority, "%s:%d", host, port);
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
  uint64_t address = dialed++ / PORTS_PER_ADDRESS % 250;
  if (address && ntohl(server.sin_addr.s_addr) >> 24 == 127) {
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001u + (uint32_t)address)};
    bind(c->fd, (struct sockaddr *)&own, sizeof own);
  }
  if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) {
    fault(REFUSED, "connect: %s", strerror(errno));
    conn_drop(c);
    return;
  }
  watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

void conn_drop(Conn *c) {
  if (c->state == CLOSED) return;
  if (c->state == READY) progress.ready--; else progress.opening--;
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

static void request(Conn *c, const char *method, const char *transport, const char *headers, const char *body) {
  char text[768];
  int n = snprintf(text, sizeof text, "%s /socket.io/?EIO=4&transport=%s%s%s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s", method,
                   transport, c->sid[0] ? "&sid=" : "", c->sid, authority, headers, body);
  write_bytes(c, text, (size_t)n);
}

void conn_get(Conn *c) { request(c, "GET", "polling", "", ""); }

void conn_post(Conn *c, const char *body) {
  char headers[96];
  snprintf(headers, sizeof headers, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n", strlen(body));
  request(c, "POST", "polling", headers, body);
}

static void upgrade(Conn *c) {
  request(c, "GET", "websocket",
          "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: bG9hZGdlbmVyYXRvcjAwMA==\r\n", "");
}

static void write_frame(Conn *c, int opcode, const char *data, size_t length) {
  static const unsigned char mask[4] = {0x5a, 0x17, 0xc3, 0x88};
  static char frame[MAX_PAYLOAD + 512];
  size_t head = 2;
  frame[0] = (char)(0x80 | opcode);
  frame[1] = (char)(0x80 | (length < 126 ? length : 126));
  if (length >= 126) { frame[2] = (char)(length >> 8); frame[3] = (char)length; head = 4; }
  memcpy(frame + head, mask, 4);
  head += 4;
  for (size_t i = 0; i < length; i++) frame[head + i] = (char)(data[i] ^ mask[i & 3]);
  write_bytes(c, frame, head + length);
}

void conn_text(Conn *c, const char *text, size_t length) { write_frame(c, 1, text, length); }

// ---- reading

static void on_packet(Conn *c, char *text, size_t n) {
  if (n == 1 && text[0] == '2') conn_text(c, "3", 1);
  else if (c->state == PROBING && n == 6 && !memcmp(text, "3probe", 6)) { c->state = OPENING; options.scenario->on_ready(c); }
  else if (c->state == OPENING && text[0] == '0') { c->state = JOINING; conn_text(c, "40", 2); }
  else if (c->state == JOINING && n > 1 && text[0] == '4' && text[1] == '0') {
    c->state = READY;
    progress.opening--;
    progress.ready++;
    if (options.scenario->on_ready) options.scenario->on_ready(c);
  } else if (n > 1 && text[0] == '4' && (text[1] == '2' || text[1] == '3') && options.scenario->on_event) {
    options.scenario->on_event(c, text + 1, n - 1);
  } else fault(CHANGED, "unexpected packet %.40s", text);
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

// Takes one whole answer to a polling request and hands its body on; the bytes taken, 0 if it is not complete.
static size_t take_answer(Conn *c) {
  char *end = strstr(c->in.data, "\r\n\r\n");
  if (!end) return 0;
  char *length = strcasestr(c->in.data, "\r\ncontent-length:");
  if (strncmp(c->in.data, "HTTP/1.1 200 ", 13) || !length || length > end) {
    fault(REFUSED, "%.60s", c->in.data);
    conn_drop(c);
    return 0;
  }
  char *body = end + 4;
  size_t n = strtoul(length + 17, NULL, 10), taken = (size_t)(body - c->in.data) + n;
  if (c->in.length < taken) return 0;
  char next = body[n];
  body[n] = 0;
  options.scenario->on_answer(c, body);
  body[n] = next;
  return taken;
}

static void on_readable(Conn *c) {
  buffer_reserve(&c->in, 4096);
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
  if (c->websocket) upgrade(c); else conn_get(c);
}

void connections_wait(int timeout_ms) {
  struct epoll_event events[EVENTS];
  for (size_t i = 0; i < queued; i++) dial_now(queue[i]);
  queued = 0;
  int n = epoll_wait(poller, events, EVENTS, timeout_ms);
  for (int i = 0; i < n; i++) {
    Conn *c = events[i].data.ptr;
    uint32_t what = events[i].events;
    if (c->state == DIALING) on_dialed(c);
    else if (c->state > DIALING && what & EPOLLOUT) flush(c);
    if (c->state > DIALING && what & (EPOLLIN | EPOLLERR | EPOLLHUP)) on_readable(c);
  }
}
