// What each mode does, and what it expects from the server.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

static Conn *conns, *probes;   // probes: the WebSockets of the browser's upgrades
static char *payload;

// ---- echo: every acknowledgement asks for the next event

static void echo_send(Conn *c) {
  static char text[MAX_PAYLOAD + 64];
  int n = snprintf(text, sizeof text, "42%llu[\"m\",\"%s\"]", (unsigned long long)c->sent, payload);
  c->sent_at[c->sent++ % MAX_WINDOW] = now_ns();
  conn_text(c, text, (size_t)n);
}

static void echo_start(void) {
  for (int i = 0; i < options.conns; i++)
    for (int w = 0; w < options.window; w++) echo_send(&conns[i]);
}

static void echo_event(Conn *c, char *text, size_t length) {
  char *rest = text;
  uint64_t id = text[0] == '3' ? strtoull(text + 1, &rest, 10) : UINT64_MAX;
  size_t n = (size_t)options.payload_length;
  bool same = length == (size_t)(rest - text) + n + 4 && !memcmp(rest, "[\"", 2) && !memcmp(rest + 2, payload, n) &&
              !memcmp(rest + 2 + n, "\"]", 2);
  if (!same) fault(CHANGED, "acknowledged with %.40s", text);
  stream_take(&c->answers, id, c->sent);
  progress.count += progress.measuring;
  if (progress.measuring) latency_add(c->sent_at[id % MAX_WINDOW]);
  if (!progress.finishing) echo_send(c);
}

static bool echo_idle(void) {
  for (int i = 0; i < options.conns; i++)
    if (conns[i].state == READY && conns[i].answers.next < conns[i].sent) return false;
  return true;
}

static void echo_end(void) {
  for (int i = 0; i < options.conns; i++) stream_end(&conns[i].answers, conns[i].sent);
}

// ---- bcast: the first connection asks, all receive, and the last one to do so asks for the next

static int missing[MAX_WINDOW];   // deliveries, by the broadcast's number

static void bcast_send(void) {
  static char text[MAX_PAYLOAD + 64];
  Conn *c = &conns[0];
  missing[c->sent % MAX_WINDOW] = options.conns;
  int n = snprintf(text, sizeof text, "42[\"b\",[%llu,\"%s\"]]", (unsigned long long)c->sent, payload);
  c->sent_at[c->sent++ % MAX_WINDOW] = now_ns();
  conn_text(c, text, (size_t)n);
}

static void bcast_start(void) {
  for (int w = 0; w < options.window; w++) bcast_send();
}

static void bcast_event(Conn *c, char *text, size_t length) {
  static const char before[] = "2[\"b\",[";
  size_t n = (size_t)options.payload_length, head = sizeof before - 1;
  char *rest = text;
  uint64_t number = UINT64_MAX;
  if (length > head && !memcmp(text, before, head)) number = strtoull(text + head, &rest, 10);
  bool same = length == (size_t)(rest - text) + n + 5 && !memcmp(rest, ",\"", 2) && !memcmp(rest + 2, payload, n) &&
              !memcmp(rest + 2 + n, "\"]]", 3);
  if (!same) fault(CHANGED, "broadcast came as %.40s", text);
  stream_take(&c->answers, number, conns[0].sent);
  progress.count += progress.measuring;
  if (--missing[number % MAX_WINDOW]) return;
  if (progress.measuring) latency_add(conns[0].sent_at[number % MAX_WINDOW]);
  if (!progress.finishing) bcast_send();
}

static bool bcast_idle(void) {
  for (int i = 0; i < options.conns; i++)
    if (conns[i].state == READY && conns[i].answers.next < conns[0].sent) return false;
  return true;
}

static void bcast_end(void) {
  for (int i = 0; i < options.conns; i++) stream_end(&conns[i].answers, conns[0].sent);
}

// ---- conn: WebSockets, each in the main namespace and so in its own room

static void websocket_open(int index) {
  conns[index].websocket = true;
  conn_dial(&conns[index]);
}

static void opened(Conn *c) {
  (void)c;
  progress.count += progress.measuring;
}

static bool nothing_opens(void) { return progress.opening == 0; }

// ---- handshakes: polling sessions are begun, and left behind as a crawler leaves them

static void polling_open(int index) { conn_dial(&conns[index]); }

static void handshake_answer(Conn *c, char *body) {
  if (strncmp(body, "0{\"sid\":\"", 9)) fault(CHANGED, "no handshake but %.40s", body);
  progress.count += progress.measuring;
  if (options.keep_alive && !progress.finishing) { conn_get(c); return; }
  conn_drop(c);
  if (!progress.finishing) conn_dial(c);
}

// ---- browser: handshake, CONNECT by POST, GET of its answer, probe while a GET waits, one event over the WebSocket

static void expect(const char *body, const char *due) {
  if (strncmp(body, due, strlen(due))) fault(CHANGED, "%.40s came where %s was due", body, due);
}

static void browser_take_sid(Conn *c, const char *body) {
  expect(body, "0{\"sid\":\"");
  const char *sid = body + 9;
  size_t n = strcspn(sid, "\"");
  if (strlen(body) < 9 || n == 0 || n >= sizeof c->sid) {
    fault(CHANGED, "no sid in %.40s", body);
    conn_drop(c);
    return;
  }
  memcpy(c->sid, sid, n);
  c->sid[n] = 0;
  memcpy(c->twin->sid, c->sid, n + 1);
  conn_post(c, "40");
}

// Once the waiting GET has been let go and the probe answered, whichever was last.
static void browser_switch(Conn *poller, Conn *probe) {
  if (poller->step < 4 || probe->state != OPENING) return;
  conn_drop(poller);
  probe->state = READY;
  progress.opening--;
  progress.ready++;
  conn_text(probe, "5", 1);
  // The answer shows that the server has switched over too.
  conn_text(probe, "420[\"m\",\"\"]", 11);
}

static void browser_answer(Conn *c, char *body) {
  switch (++c->step) {
    case 1: browser_take_sid(c, body); break;
    case 2: expect(body, "ok"); conn_get(c); break;
    case 3: expect(body, "40{\"sid\":\""); conn_get(c); conn_dial(c->twin); break;
    case 4: expect(body, "6"); browser_switch(c, c->twin); break;
    default: fault(CHANGED, "one more answer: %.40s", body);
  }
}

static void browser_probed(Conn *probe) { browser_switch(probe->twin, probe); }

static void browser_event(Conn *probe, char *text, size_t length) {
  (void)length;
  expect(text, "30[\"\"]");
  stream_take(&probe->answers, 0, 1);
  progress.count += progress.measuring;
}

static bool browser_idle(void) {
  for (int i = 0; i < options.conns; i++)
    if (conns[i].state != CLOSED || (probes[i].state != CLOSED && !probes[i].answers.next)) return false;
  return true;
}

static void browser_end(void) {
  for (int i = 0; i < options.conns; i++) stream_end(&probes[i].answers, 1);
}

static const Scenario scenarios[] = {
    {.name = "echo", .messages = true, .open = websocket_open, .start = echo_start, .idle = echo_idle, .end = echo_end,
     .on_event = echo_event},
    {.name = "bcast", .messages = true, .open = websocket_open, .start = bcast_start, .idle = bcast_idle,
     .end = bcast_end, .on_event = bcast_event},
    {.name = "conn", .opens = true, .open = websocket_open, .idle = nothing_opens, .on_ready = opened},
    {.name = "browser", .opens = true, .open = polling_open, .idle = browser_idle, .end = browser_end,
     .on_answer = browser_answer, .on_event = browser_event, .on_ready = browser_probed},
    {.name = "handshakes", .open = polling_open, .idle = nothing_opens, .on_answer = handshake_answer},
};

const Scenario *scenario_named(const char *name) {
  for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
    if (!strcmp(scenarios[i].name, name)) return &scenarios[i];
  return NULL;
}

void scenario_prepare(void) {
  size_t n = (size_t)options.conns;
  conns = calloc(n, sizeof *conns);
  probes = calloc(n, sizeof *probes);
  payload = malloc((size_t)options.payload_length + 1);
  if (!conns || !probes || !payload) abort();
  memset(payload, 'x', (size_t)options.payload_length);
  payload[options.payload_length] = 0;
  for (size_t i = 0; i < n; i++) {
    conns[i].twin = &probes[i];
    probes[i].twin = &conns[i];
    probes[i].websocket = true;
  }
}
