// Broadcasts: the first connection of a room asks, all in it receive, and the last one to do so asks for the next.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

typedef struct { int missing[MAX_WINDOW]; } Room;   // deliveries, by the broadcast's number

static Room *all;
static int joined;

static Conn *sender_in(const Conn *c) { return &conns[(c - conns) / options.room * options.room]; }

static bool everybody(void) { return options.scenario == &bcast; }

static void ask(Conn *c) {
  static char text[MAX_PAYLOAD + 64];
  unsigned long long number = c->sent;
  size_t n = (size_t)options.payload_length, at;
  int room = (int)(c - conns) / options.room;
  all[room].missing[number % MAX_WINDOW] = options.room;
  if (everybody()) at = (size_t)sprintf(text, "42[\"b\",[%llu,\"", number);
  else at = (size_t)sprintf(text, "42[\"r\",\"%d\",[%llu,\"", room, number);
  memcpy(text + at, payload_for(c->number, number), n);
  memcpy(text + at + n, "\"]]", 3);
  c->sent_at[c->sent++ % MAX_WINDOW] = now_ns();
  conn_text(c, text, at + n + 3);
}

static void start(void) {
  all = calloc((size_t)(progress.conns / options.room), sizeof *all);
  if (!all) abort();
  for (int i = 0; i < progress.conns; i += options.room)
    for (int w = 0; w < options.window; w++) ask(&conns[i]);
}

static bool read_delivery(const Conn *sender, const char *text, size_t length, uint64_t *number) {
  const char *at = text, *end = text + length;
  char *rest;
  *number = UINT64_MAX;
  if (!takes(&at, end, everybody() ? "2[\"b\",[" : "2[\"r\",[")) return false;
  *number = strtoull(at, &rest, 10);
  at = rest;
  return takes(&at, end, ",\"") && end - at >= 3 && !memcmp(end - 3, "\"]]", 3) &&
         payload_is(at, (size_t)(end - at) - 3, sender->number, *number);
}

static void on_event(Conn *c, char *text, size_t length) {
  if (!all && text[0] == '3') { joined++; return; }
  Conn *sender = sender_in(c);
  uint64_t number;
  if (!read_delivery(sender, text, length, &number)) fault(CHANGED, "a broadcast came as %.60s", text);
  stream_take(&c->answers, number, sender->sent);
  if (progress.measuring) tally->count++;
  if (!all || --all[(c - conns) / options.room].missing[number % MAX_WINDOW]) return;
  if (progress.measuring) latency_add(sender->sent_at[number % MAX_WINDOW]);
  if (!progress.finishing) ask(sender);
}

static bool idle(void) {
  if (!everybody() && joined < progress.ready) return false;
  for (int i = 0; i < progress.conns; i++)
    if (conns[i].state == READY && conns[i].answers.next < sender_in(&conns[i])->sent) return false;
  return true;
}

static void end(void) {
  for (int i = 0; i < progress.conns; i++) stream_end(&conns[i].answers, sender_in(&conns[i])->sent);
}

static void join(Conn *c) {
  char text[48];
  conn_text(c, text, (size_t)sprintf(text, "420[\"join\",\"%d\"]", (int)(c - conns) / options.room));
}

const Scenario bcast = {.name = "bcast", .messages = true, .alone = true, .open = websocket_open, .start = start,
                        .idle = idle, .end = end, .on_event = on_event};
const Scenario rooms = {.name = "rooms", .messages = true, .alone = true, .open = websocket_open, .start = start,
                        .idle = idle, .end = end, .on_event = on_event, .on_ready = join};
