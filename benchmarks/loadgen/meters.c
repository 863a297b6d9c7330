// Clocks, latencies, faults, and what /proc says about the server.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loadgen.h"

#define SHOWN 5   // faults that a process tells one by one

const char *const fault_names[FAULTS] = {"lost", "doubled", "reordered", "changed", "refused", "broken"};
Tally *tally;

void fault(Fault kind, const char *format, ...) {
  static int shown;
  tally->faults[kind]++;
  if (++shown > SHOWN) return;
  va_list rest;
  va_start(rest, format);
  char text[256];
  vsnprintf(text, sizeof text, format, rest);
  va_end(rest);
  fprintf(stderr, "%s: %s\n", fault_names[kind], text);
}

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// ---- /proc

static bool read_file(const char *path, char *text, size_t room) {
  FILE *f = fopen(path, "r");
  if (!f) return false;
  text[fread(text, 1, room - 1, f)] = 0;
  fclose(f);
  return true;
}

static bool read_proc(long pid, const char *file, char *text, size_t room) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/%s", pid, file);
  return read_file(path, text, room);
}

static long number_after(const char *text, const char *name) {
  const char *found = strstr(text, name);
  return found ? strtol(found + strlen(name), NULL, 10) : 0;
}

double cpu_seconds(const Pids *pids) {
  char text[1024];
  unsigned long ticks = 0;
  for (int i = 0; i < pids->count; i++) {
    if (!read_proc(pids->pid[i], "stat", text, sizeof text)) continue;
    unsigned long user = 0, system = 0;
    char *fields = strrchr(text, ')');   // the name before it may hold anything
    if (fields) sscanf(fields + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    ticks += user + system;
  }
  return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

long resident_kb(const Pids *pids) {
  char text[4096];
  long sum = 0;
  for (int i = 0; i < pids->count; i++)
    if (read_proc(pids->pid[i], "status", text, sizeof text)) sum += number_after(text, "VmRSS:");
  return sum;
}

long kernel_kb(void) {
  char text[8192];
  long sum = 0;
  if (read_file("/proc/meminfo", text, sizeof text)) sum += number_after(text, "\nSlab:");
  if (read_file("/proc/net/sockstat", text, sizeof text)) {
    char *tcp = strstr(text, "TCP:");
    if (tcp) sum += number_after(tcp, " mem ") * (sysconf(_SC_PAGESIZE) / 1024);
  }
  return sum;
}

// ---- latencies

static int bucket_of(uint32_t us) {
  int shift = us < 128 ? 0 : 25 - __builtin_clz(us);
  return shift * 64 + (int)(us >> shift);
}

static double middle_of(int bucket) {
  if (bucket < 128) return bucket;
  int shift = bucket / 64 - 1;
  return ((double)(bucket - shift * 64) + 0.5) * (double)(1u << shift);
}

void latency_add(uint64_t since_ns) {
  uint64_t now = now_ns(), us = now > since_ns ? (now - since_ns) / 1000 : 0;
  if (us > UINT32_MAX) us = UINT32_MAX;
  tally->latencies[bucket_of((uint32_t)us)]++;
  if (us > tally->slowest_us) tally->slowest_us = us;
}

void tally_merge(Tally *sum, const Tally *one) {
  sum->count += one->count;
  for (int kind = 0; kind < FAULTS; kind++) sum->faults[kind] += one->faults[kind];
  for (int i = 0; i < BUCKETS; i++) sum->latencies[i] += one->latencies[i];
  if (one->slowest_us > sum->slowest_us) sum->slowest_us = one->slowest_us;
}

double latency_ms(const Tally *all, double part) {
  uint64_t count = 0, seen = 0;
  for (int i = 0; i < BUCKETS; i++) count += all->latencies[i];
  if (!count) return 0;
  if (part >= 1) return (double)all->slowest_us / 1000;
  for (int i = 0; i < BUCKETS; i++)
    if ((seen += all->latencies[i]) > (uint64_t)(part * (double)count)) return middle_of(i) / 1000;
  return (double)all->slowest_us / 1000;
}

// ---- streams

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
