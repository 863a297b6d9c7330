// Polling alone: a GET waits on one connection, and on its twin each POST brings WINDOW events.
//
// The next POST leaves when the last one is answered and all of its events are acknowledged.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

#define SEPARATOR '\x1e'

enum { HANDSHAKE, CONNECTING, TALKING };   // steps of a session; a twin's step: POSTs under way

static void post_round(Conn *c) {
  static char body[(MAX_PAYLOAD + 64) * 2];
  size_t n = (size_t)options.payload_length, at = 0;
  if (c->ping_due) { memcpy(body, "3\x1e", 2); at = 2; c->ping_due = 0; }
  for (int w = 0; w < options.window; w++) {
    if (w) body[at++] = SEPARATOR;
    at += (size_t)sprintf(body + at, "42%llu[\"m\",\"", (unsigned long long)c->sent);
    memcpy(body + at, payload_for(c->number, c->sent), n);
    memcpy(body + at + n, "\"]", 2);
    at += n + 2;
    c->sent_at[c->sent++ % MAX_WINDOW] = now_ns();
  }
  c->twin->step++;
  conn_post(c->twin, body, at);
}

static void next_round(Conn *c) {
  if (c->step == TALKING && !c->twin->step && c->answers.next == c->sent && !progress.finishing) post_round(c);
}

static void polls_start(void) {
  for (int i = 0; i < progress.conns; i++) {
    conns[i].step = TALKING;
    next_round(&conns[i]);
  }
}

static void take_handshake(Conn *c, const char *body) {
  size_t n = strncmp(body, "0{\"sid\":\"", 9) ? 0 : strcspn(body + 9, "\"");
  if (n == 0 || n >= sizeof c->sid) {
    fault(CHANGED, "no handshake but %.40s", body);
    conn_drop(c);
    return;
  }
  memcpy(c->sid, body + 9, n);
  memcpy(c->twin->sid, c->sid, n);
  c->step = CONNECTING;
  conn_dial(c->twin);
}

static void take_ack(Conn *c, const char *at, const char *end) {
  char *rest;
  uint64_t number = UINT64_MAX;
  bool same = takes(&at, end, "43");
  if (same) {
    number = strtoull(at, &rest, 10);
    at = rest;
    same = takes(&at, end, "[\"") && end - at >= 2 && !memcmp(end - 2, "\"]", 2) &&
           payload_is(at, (size_t)(end - at) - 2, c->number, number);
  }
  if (!same) { fault(CHANGED, "unexpected packet %.60s", at); return; }
  stream_take(&c->answers, number, c->sent);
  if (!progress.measuring) return;
  tally->count++;
  latency_add(c->sent_at[number % MAX_WINDOW]);
}

static void take_packet(Conn *c, const char *at, const char *end) {
  if (end - at == 1 && *at == '2') c->ping_due = 1;
  else if (end - at == 1 && *at == '6') return;
  else if (c->step == CONNECTING && end - at > 2 && !memcmp(at, "40", 2)) { conn_settle(c->twin); conn_settle(c); }
  else take_ack(c, at, end);
}

static void take_posted(Conn *twin, const char *body) {
  if (strcasecmp(body, "ok")) fault(CHANGED, "a POST was answered with %.40s", body);
  twin->step--;
  if (twin->twin->step == CONNECTING) conn_get(twin->twin);
  else next_round(twin->twin);
}

static void polls_answer(Conn *c, char *body, size_t length) {
  if (c >= twins && c < twins + progress.conns) { take_posted(c, body); return; }
  if (c->step == HANDSHAKE) { take_handshake(c, body); return; }
  for (char *at = body, *end = body + length; at < end;) {
    char *stop = memchr(at, SEPARATOR, (size_t)(end - at));
    take_packet(c, at, stop ? stop : end);
    at = stop ? stop + 1 : end;
  }
  if (c->state == CLOSED) return;
  conn_get(c);
  next_round(c);
}

static void polls_dialed(Conn *c) {
  if (c->step == HANDSHAKE && !c->sid[0]) { conn_get(c); return; }
  c->step++;
  conn_post(c, "40", 2);
}

static bool polls_idle(void) {
  for (int i = 0; i < progress.conns; i++)
    if (conns[i].state != CLOSED && (conns[i].answers.next < conns[i].sent || twins[i].step)) return false;
  return true;
}

static void polls_end(void) {
  for (int i = 0; i < progress.conns; i++) stream_end(&conns[i].answers, conns[i].sent);
}

const Scenario polls = {.name = "polls", .messages = true, .open = polling_open, .start = polls_start, .idle = polls_idle,
                        .end = polls_end, .on_dialed = polls_dialed, .on_answer = polls_answer};
