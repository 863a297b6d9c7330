// Sessions that are opened, and said to be there: conn, hold, handshakes, browser.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

#define LATE 5e9   // ns after which a heartbeat counts as lost

// ---- conn and hold: WebSockets, each in the main namespace and so in its own room

static void opened(Conn *c) {
  (void)c;
  if (progress.measuring) tally->count++;
}

const Scenario conn = {.name = "conn", .opens = true, .open = websocket_open, .idle = nothing_opens, .on_ready = opened};

// The next ping is due an interval after the answer to this one, which is now.
static void pinged(Conn *c) {
  uint64_t now = now_ns();
  if ((double)now > (double)c->ping_due + LATE) fault(LOST, "a heartbeat of connection %d came too late", c->number);
  latency_add(c->ping_due);
  c->ping_due = now + c->ping_interval;
}

static void hold_end(void) {
  uint64_t now = now_ns();
  for (int i = 0; i < progress.conns; i++)
    if (!conns[i].ping_due || (double)now > (double)conns[i].ping_due + LATE) fault(LOST, "a heartbeat of connection %d", conns[i].number);
}

const Scenario hold = {.name = "hold", .opens = true, .open = websocket_open, .idle = nothing_opens, .on_ready = opened,
                       .on_ping = pinged, .end = hold_end};

// ---- handshakes: polling sessions are begun, and left behind as a crawler leaves them

static void handshake_answer(Conn *c, char *body, size_t length) {
  (void)length;
  if (strncmp(body, "0{\"sid\":\"", 9)) fault(CHANGED, "no handshake but %.40s", body);
  if (progress.measuring) tally->count++;
  if (options.keep_alive && !progress.finishing) { conn_get(c); return; }
  conn_drop(c);
  if (!progress.finishing) conn_dial(c);
}

const Scenario handshakes = {.name = "handshakes", .open = polling_open, .idle = nothing_opens, .on_answer = handshake_answer};

// ---- browser: handshake, CONNECT by POST, GET of its answer, probe while a GET waits, one event over the WebSocket

static void expect(const char *body, const char *due) {
  if (strncmp(body, due, strlen(due))) fault(CHANGED, "%.40s came where %s was due", body, due);
}

static void browser_open(int index) {
  twins[index].websocket = true;
  conn_dial(&conns[index]);
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
  conn_post(c, "40", 2);
}

// Once the waiting GET has been let go and the probe answered, whichever was last.
static void browser_switch(Conn *poller, Conn *probe) {
  if (poller->step < 4 || probe->state != OPENING) return;
  conn_drop(poller);
  probe->state = READY;
  conn_settle(probe);
  conn_text(probe, "5", 1);
  // The answer shows that the server has switched over too.
  conn_text(probe, "420[\"m\",\"\"]", 11);
}

static void browser_answer(Conn *c, char *body, size_t length) {
  (void)length;
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
  if (progress.measuring) tally->count++;
}

static bool browser_idle(void) {
  for (int i = 0; i < progress.conns; i++)
    if (conns[i].state != CLOSED || (twins[i].state != CLOSED && !twins[i].answers.next)) return false;
  return true;
}

static void browser_end(void) {
  for (int i = 0; i < progress.conns; i++) stream_end(&twins[i].answers, 1);
}

const Scenario browser = {.name = "browser", .opens = true, .open = browser_open, .idle = browser_idle, .end = browser_end,
                          .on_answer = browser_answer, .on_event = browser_event, .on_ready = browser_probed};
