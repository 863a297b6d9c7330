// Acknowledged events: each acknowledgement asks for the next one (echo), or they leave at a rate of their own (open).
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

static void send_event(Conn *c) {
  static char text[MAX_PAYLOAD + 64];
  unsigned long long number = c->sent;
  c->sent_at[c->sent++ % MAX_WINDOW] = now_ns();
  size_t n = (size_t)options.payload_length;
  char *data = payload_for(c->number, number);
  if (options.binary) {
    conn_text(c, text, (size_t)sprintf(text, "451-%llu[\"m\",{\"_placeholder\":true,\"num\":0}]", number));
    conn_binary(c, data, n);
    return;
  }
  size_t at = (size_t)sprintf(text, "42%llu[\"m\",\"", number);
  memcpy(text + at, data, n);
  memcpy(text + at + n, "\"]", 2);
  conn_text(c, text, at + n + 2);
}

static void echo_start(void) {
  for (int i = 0; i < progress.conns; i++)
    for (int w = 0; w < options.window; w++) send_event(&conns[i]);
}

// The number that an acknowledgement bears, and whether its argument is what was sent.
static bool read_ack(const Conn *c, const char *text, size_t length, uint64_t *number) {
  const char *at = text, *end = text + length;
  char *rest;
  *number = UINT64_MAX;
  if (!takes(&at, end, options.binary ? "61-" : "3") || *at < '0' || *at > '9') return false;
  *number = strtoull(at, &rest, 10);
  at = rest;
  if (options.binary) return takes(&at, end, "[{\"_placeholder\":true,\"num\":0}]") && at == end;
  return takes(&at, end, "[\"") && end - at >= 2 && !memcmp(end - 2, "\"]", 2) &&
         payload_is(at, (size_t)(end - at) - 2, c->number, *number);
}

static void answered(Conn *c, uint64_t number) {
  stream_take(&c->answers, number, c->sent);
  if (!progress.measuring) return;
  tally->count++;
  latency_add(c->sent_at[number % MAX_WINDOW]);
}

static void echo_event(Conn *c, char *text, size_t length) {
  uint64_t number;
  if (!read_ack(c, text, length, &number)) fault(CHANGED, "acknowledged with %.60s", text);
  if (options.binary) { c->binary = number + 1; return; }
  answered(c, number);
  if (!progress.finishing) send_event(c);
}

static void echo_attachment(Conn *c, char *data, size_t length) {
  uint64_t number = c->binary - 1;
  if (!c->binary || !payload_is(data, length, c->number, number)) fault(CHANGED, "an attachment of %zu bytes", length);
  c->binary = 0;
  answered(c, number);
  if (!progress.finishing) send_event(c);
}

static bool echo_idle(void) {
  for (int i = 0; i < progress.conns; i++)
    if (conns[i].state == READY && conns[i].answers.next < conns[i].sent) return false;
  return true;
}

static void echo_end(void) {
  for (int i = 0; i < progress.conns; i++) stream_end(&conns[i].answers, conns[i].sent);
}

const Scenario echo = {.name = "echo", .messages = true, .open = websocket_open, .start = echo_start, .idle = echo_idle,
                       .end = echo_end, .on_event = echo_event, .on_attachment = echo_attachment};

// ---- open: event k of this process is due k / rate after the start, on connection k % conns

static uint64_t began;
static uint64_t next_event;

static uint64_t due_at(uint64_t event) {
  double rate = options.rate * progress.conns / options.conns;
  return began + (uint64_t)((double)event / rate * 1e9);
}

static void open_start(void) { began = now_ns(); }

static uint64_t open_tick(void) {
  if (!began || progress.finishing) return UINT64_MAX;
  uint64_t now = now_ns();
  for (; due_at(next_event) <= now; next_event++) send_event(&conns[next_event % (uint64_t)progress.conns]);
  return due_at(next_event) - now;
}

static void open_event(Conn *c, char *text, size_t length) {
  uint64_t number;
  if (!read_ack(c, text, length, &number)) fault(CHANGED, "acknowledged with %.60s", text);
  stream_take(&c->answers, number, c->sent);
  if (!progress.measuring) return;
  tally->count++;
  latency_add(due_at(number * (uint64_t)progress.conns + (uint64_t)(c - conns)));
}

const Scenario open_loop = {.name = "open", .messages = true, .open = websocket_open, .start = open_start, .idle = echo_idle,
                            .end = echo_end, .tick = open_tick, .on_event = open_event};
