// The modes, and the payload that they send.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen.h"

#define STAMP 16   // hexadecimal: 5 digits of the stream, 11 of the number

Conn *conns, *twins;
static char *payload;

const Scenario *scenario_named(const char *name) {
  static const Scenario *const all[] = {&echo, &open_loop, &polls, &bcast, &rooms, &conn, &hold, &browser, &handshakes};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!strcmp(all[i]->name, name)) return all[i];
  return NULL;
}

void scenario_prepare(void) {
  size_t n = (size_t)progress.conns;
  conns = calloc(n, sizeof *conns);
  twins = calloc(n, sizeof *twins);
  payload = malloc((size_t)options.payload_length + 1);
  if (!conns || !twins || !payload) abort();
  for (int i = 0; i < options.payload_length; i++) payload[i] = options.binary ? (char)(i * 7 + 128) : 'x';
  payload[options.payload_length] = 0;
  for (size_t i = 0; i < n; i++) {
    conns[i].number = twins[i].number = progress.first + (int)i;
    conns[i].twin = &twins[i];
    twins[i].twin = &conns[i];
  }
}

void websocket_open(int index) {
  conns[index].websocket = true;
  conn_dial(&conns[index]);
}

void polling_open(int index) { conn_dial(&conns[index]); }

bool nothing_opens(void) { return progress.opening == 0; }

// By hand, as this runs for every message on both of its ways.
static void stamp(char *text, int stream, uint64_t number) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 15; i >= 5; i--, number >>= 4) text[i] = digits[number & 15];
  for (int i = 4; i >= 0; i--, stream >>= 4) text[i] = digits[stream & 15];
}

char *payload_for(int stream, uint64_t number) {
  if (options.payload_length >= STAMP) stamp(payload, stream, number);
  return payload;
}

bool payload_is(const char *data, size_t length, int stream, uint64_t number) {
  return length == (size_t)options.payload_length && !memcmp(data, payload_for(stream, number), length);
}

bool takes(const char **at, const char *end, const char *due) {
  size_t n = strlen(due);
  if ((size_t)(end - *at) < n || memcmp(*at, due, n)) return false;
  *at += n;
  return true;
}
