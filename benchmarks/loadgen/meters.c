// Clocks, latencies, faults, and what /proc says about the server.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

#define SHOWN 5   // faults that are told one by one

const char *const fault_names[FAULTS] = {"lost", "doubled", "reordered", "changed", "refused", "broken"};
uint64_t faults[FAULTS];

static uint32_t *latencies;   // microseconds
static size_t latency_count, latency_room;

void fault(Fault kind, const char *format, ...) {
  faults[kind]++;
  if (faults_in_all() > SHOWN) return;
  va_list rest;
  va_start(rest, format);
  fprintf(stderr, "%s: ", fault_names[kind]);
  vfprintf(stderr, format, rest);
  fputc('\n', stderr);
  va_end(rest);
}

uint64_t faults_in_all(void) {
  uint64_t sum = 0;
  for (int kind = 0; kind < FAULTS; kind++) sum += faults[kind];
  return sum;
}

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool read_proc(long pid, const char *file, char *text, size_t room) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
  FILE *f = pid ? fopen(path, "r") : NULL;
  if (!f) return false;
  text[fread(text, 1, room - 1, f)] = 0;
  fclose(f);
  return true;
}

double cpu_seconds(long pid) {
  char text[1024];
  if (!read_proc(pid, "stat", text, sizeof text)) return 0;
  unsigned long user = 0, system = 0;
  char *fields = strrchr(text, ')');   // the name before it may hold anything
  if (fields) sscanf(fields + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

long resident_kb(long pid) {
  char text[4096];
  if (!read_proc(pid, "status", text, sizeof text)) return 0;
  char *line = strstr(text, "VmRSS:");
  return line ? strtol(line + 6, NULL, 10) : 0;
}

void latency_add(uint64_t since_ns) {
  if (latency_count == latency_room) {
    latency_room = latency_room ? latency_room * 2 : 1 << 16;
    latencies = realloc(latencies, latency_room * sizeof *latencies);
    if (!latencies) abort();
  }
  latencies[latency_count++] = (uint32_t)((now_ns() - since_ns) / 1000);
}

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

double latency_ms(double part) {
  static bool sorted;
  if (!latency_count) return 0;
  if (!sorted) qsort(latencies, latency_count, sizeof *latencies, by_value);
  sorted = true;
  size_t index = (size_t)(part * (double)latency_count);
  return latencies[index < latency_count ? index : latency_count - 1] / 1000.0;
}

static void stream_step(Stream *s) {
  s->beyond >>= 1;
  s->next++;
}

void stream_take(Stream *s, uint64_t number, uint64_t sent) {
  if (number >= sent) { fault(CHANGED, "number %llu was never sent", (unsigned long long)number); return; }
  if (number < s->next || (number - s->next < 64 && s->beyond >> (number - s->next) & 1)) {
    fault(DOUBLED, "number %llu came again", (unsigned long long)number);
    return;
  }
  // A gap may still be filled, late; what never fills it is lost.
  if (number - s->next < 64 && s->beyond >> (number - s->next)) fault(REORDERED, "number %llu came late", (unsigned long long)number);
  // Too far behind to come still.
  while (number - s->next >= 64) {
    if (!(s->beyond & 1)) fault(LOST, "number %llu", (unsigned long long)s->next);
    stream_step(s);
  }
  s->beyond |= 1ull << (number - s->next);
  while (s->beyond & 1) stream_step(s);
}

void stream_end(Stream *s, uint64_t sent) {
  while (s->next < sent) {
    if (!(s->beyond & 1)) fault(LOST, "number %llu", (unsigned long long)s->next);
    stream_step(s);
  }
}
