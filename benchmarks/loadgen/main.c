// A load generator for Socket.IO servers: one epoll thread, so that the server is what is measured.
//
//   loadgen echo       HOST PORT CONNS SECONDS WINDOW PAYLOAD   acknowledged events, WINDOW under way per connection
//   loadgen bcast      HOST PORT CONNS SECONDS WINDOW PAYLOAD   broadcasts to CONNS, WINDOW under way in all
//   loadgen conn       HOST PORT CONNS SECONDS   open CONNS WebSockets, then hold them for SECONDS
//   loadgen browser    HOST PORT CONNS SECONDS   the same as a browser does it: poll, CONNECT, upgrade
//   loadgen handshakes HOST PORT CONNS SECONDS   polling handshakes by CONNS clients at a time, each on a new connection
//   --keep-alive       handshakes: on connections that stay
//   --pid PID          of the server: its processor time and memory are read at the edges of what is measured
//
// PAYLOAD is in bytes. The server must acknowledge event "m" with its argument, and broadcast the argument of event "b"
// as event "b". Echoes, broadcasts and handshakes run for a second before they count, and end when all that was
// asked for has been answered; conn and browser count from the first connection to the last.
//
// Prints one line of JSON. `count` is messages, deliveries, connections or handshakes; `cpu_us` the server's processor time
// (user and system) for one of them; `rss_kb` its growth by what is held at the end. Exit status 1 if anything was lost, doubled,
// reordered, changed, refused or broken: then no figure counts. Exit status 2 for a mistake in the arguments.
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "loadgen.h"

#define WARM_UP 1.0     // seconds
#define PATIENCE 60.0   // for all to connect
#define DRAIN 10.0      // for the last answers
#define AFTERMATH 0.2   // in which something could still come twice

Options options = {.window = 1, .payload_length = 64};
Progress progress;

typedef struct { double seconds, cpu; long rss_kb; } Measured;

static double since(uint64_t begun) { return (double)(now_ns() - begun) / 1e9; }

static int usage(const char *why) {
  fprintf(stderr,
          "loadgen: %s\nusage: loadgen echo|bcast|conn|browser|handshakes HOST PORT CONNS SECONDS [WINDOW PAYLOAD] "
          "[--keep-alive] [--pid PID]\n",
          why);
  return 2;
}

static int parse(int argc, char **argv) {
  static const struct option known[] = {{"pid", required_argument, NULL, 'p'}, {"keep-alive", no_argument, NULL, 'k'}, {0}};
  for (int flag; (flag = getopt_long(argc, argv, "", known, NULL)) != -1;) {
    if (flag == 'p') options.pid = atol(optarg);
    else if (flag == 'k') options.keep_alive = true;
    else return usage("unknown option");
  }
  char **words = argv + optind;
  int count = argc - optind;
  options.scenario = count ? scenario_named(words[0]) : NULL;
  if (!options.scenario) return usage("the mode is missing or unknown");
  if (count != (options.scenario->messages ? 7 : 5)) return usage("wrong number of arguments");
  options.host = words[1];
  options.port = atoi(words[2]);
  options.conns = atoi(words[3]);
  options.seconds = atof(words[4]);
  if (options.scenario->messages) {
    options.window = atoi(words[5]);
    options.payload_length = atoi(words[6]);
  }
  if (options.port < 1 || options.port > 65535) return usage("PORT is 1 to 65535");
  if (options.conns < 1 || options.conns > 1000000) return usage("CONNS is 1 to 1000000");
  if (options.window < 1 || options.window > MAX_WINDOW) return usage("WINDOW is 1 to 64");
  if (options.payload_length < 0 || options.payload_length > MAX_PAYLOAD) return usage("PAYLOAD is 0 to 65000");
  return 0;
}

static void raise_file_limit(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

static void run_for(double seconds) {
  for (uint64_t begun = now_ns(); since(begun) < seconds;) connections_wait(20);
}

static bool run_until_idle(double patience) {
  uint64_t begun = now_ns();
  while (!options.scenario->idle() && since(begun) < patience) connections_wait(20);
  return options.scenario->idle();
}

static bool open_all(void) {
  uint64_t begun = now_ns();
  for (int next = 0; next < options.conns || progress.opening;) {
    while (next < options.conns && progress.opening < PARALLEL) options.scenario->open(next++);
    connections_wait(20);
    if (since(begun) > PATIENCE) { fault(REFUSED, "%d connections did not open", progress.opening); return false; }
  }
  return run_until_idle(DRAIN);
}

static Measured measure(void (*what)(void)) {
  progress.measuring = true;
  long rss = resident_kb(options.pid);
  double cpu = cpu_seconds(options.pid);
  uint64_t begun = now_ns();
  what();
  progress.measuring = false;
  return (Measured){.seconds = since(begun), .cpu = cpu_seconds(options.pid) - cpu, .rss_kb = rss};
}

static void open_measured(void) { open_all(); }
static void run_measured(void) { run_for(options.seconds); }

static Measured run(void) {
  Measured result;
  if (options.scenario->opens) {
    result = measure(open_measured);
    run_for(options.seconds);
    if (progress.ready != options.conns) fault(LOST, "%d of %d connections are held", progress.ready, options.conns);
  } else {
    if (options.scenario->start && open_all()) options.scenario->start();
    else for (int i = 0; i < options.conns && !options.scenario->start; i++) options.scenario->open(i);
    run_for(WARM_UP);
    result = measure(run_measured);
    progress.finishing = true;
    run_until_idle(DRAIN);
    run_for(AFTERMATH);
  }
  if (options.scenario->end) options.scenario->end();
  result.rss_kb = resident_kb(options.pid) - result.rss_kb;
  return result;
}

int main(int argc, char **argv) {
  int mistake = parse(argc, argv);
  if (mistake) return mistake;
  raise_file_limit();
  connections_init(options.host, options.port);
  scenario_prepare();
  Measured m = run();
  double count = (double)progress.count;
  if (!progress.count) fault(LOST, "nothing was answered");
  printf("{\"mode\":\"%s\",\"conns\":%d,\"window\":%d,\"payload\":%d,\"count\":%.0f,\"seconds\":%.3f,\"per_second\":%.1f,"
         "\"cpu_seconds\":%.2f,\"cpu_us\":%.3f,\"rss_kb\":%ld,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f",
         options.scenario->name, options.conns, options.window, options.payload_length, count, m.seconds, count / m.seconds,
         m.cpu, count ? m.cpu * 1e6 / count : 0, m.rss_kb, latency_ms(0.5), latency_ms(0.99), latency_ms(1));
  for (int kind = 0; kind < FAULTS; kind++) printf(",\"%s\":%llu", fault_names[kind], (unsigned long long)faults[kind]);
  printf("}\n");
  return faults_in_all() ? 1 : 0;
}
