// A load generator for Socket.IO servers: an epoll thread in each process, so that the server is what is measured.
//
//   loadgen echo       HOST PORT CONNS SECONDS WINDOW PAYLOAD   acknowledged events, WINDOW under way per connection
//   loadgen open       HOST PORT CONNS SECONDS 1 PAYLOAD --rate R   the same, R a second in all, whatever the answers do
//   loadgen polls      HOST PORT CONNS SECONDS WINDOW PAYLOAD   the same over polling alone, WINDOW events in a POST
//   loadgen bcast      HOST PORT CONNS SECONDS WINDOW PAYLOAD   broadcasts to CONNS, WINDOW under way in all
//   loadgen rooms      HOST PORT CONNS SECONDS WINDOW PAYLOAD --room N   the same in rooms of N, WINDOW in each
//   loadgen conn       HOST PORT CONNS SECONDS   open CONNS WebSockets, then hold them for SECONDS
//   loadgen hold       HOST PORT CONNS SECONDS   the same; what is told as latency is how late heartbeats were
//   loadgen browser    HOST PORT CONNS SECONDS   the same as conn as a browser does it: poll, CONNECT, upgrade
//   loadgen handshakes HOST PORT CONNS SECONDS   polling handshakes by CONNS clients at a time, each on a new connection
//   --keep-alive       handshakes: on connections that stay
//   --binary           echo: the argument is a binary attachment
//   --processes N      of the load generator, each with its share of CONNS
//   --warm-up SECONDS  before messages and handshakes count; 1 unless given
//   --patience SECONDS for the last answers; 10 unless given
//   --pid PID          of a server, repeatable: processor time and memory are read at the edges of what is measured
//   --beside PID       the same of what stands beside the servers, a proxy or Redis
//
// PORT may be several, with commas between: connections go to them in turn. PAYLOAD is in bytes. The server must acknowledge
// event "m" with its argument, broadcast the argument of "b" as "b", join the room that "join" names and acknowledge it,
// and send the second argument of "r" as "r" to the room that the first names. Messages and handshakes run for the warm-up before they
// count, and end when all that was asked for has been answered; conn, hold and browser count from the first
// connection to the last. The latency of `open` counts from the moment at which an event was due.
//
// Prints one line of JSON. `count` is messages, deliveries, connections or handshakes; `cpu_us` the servers' processor time
// (user and system) for one of them; `rss_kb` their growth by what is held at the end. Exit status 1 if anything was lost, doubled,
// reordered, changed, refused or broken: then no figure counts. Exit status 2 for a mistake in the arguments.
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "loadgen.h"

Options options = {.window = 1, .payload_length = 64, .processes = 1, .warm_up = 1, .patience = 10};

static int usage(const char *why) {
  fprintf(stderr,
          "loadgen: %s\nusage: loadgen echo|open|polls|bcast|rooms|conn|hold|browser|handshakes HOST PORT[,PORT] CONNS "
          "SECONDS [WINDOW PAYLOAD] [--rate R] [--room N] [--binary] [--keep-alive] [--processes N] [--pid PID] "
          "[--beside PID] [--warm-up SECONDS] [--patience SECONDS]\n",
          why);
  return 2;
}

static bool add_pid(Pids *pids, const char *text) {
  if (pids->count == MAX_PIDS) return false;
  pids->pid[pids->count++] = atol(text);
  return true;
}

static bool parse_flags(int argc, char **argv) {
  static const struct option known[] = {
      {"pid", required_argument, NULL, 'p'},       {"beside", required_argument, NULL, 'q'}, {"rate", required_argument, NULL, 'r'},
      {"room", required_argument, NULL, 'g'},      {"binary", no_argument, NULL, 'b'},       {"keep-alive", no_argument, NULL, 'k'},
      {"processes", required_argument, NULL, 'n'}, {"warm-up", required_argument, NULL, 'w'},
      {"patience", required_argument, NULL, 't'},  {0}};
  for (int flag; (flag = getopt_long(argc, argv, "", known, NULL)) != -1;) {
    switch (flag) {
      case 'p': if (!add_pid(&options.servers, optarg)) return false; break;
      case 'q': if (!add_pid(&options.beside, optarg)) return false; break;
      case 'r': options.rate = atof(optarg); break;
      case 'g': options.room = atoi(optarg); break;
      case 'n': options.processes = atoi(optarg); break;
      case 'w': options.warm_up = atof(optarg); break;
      case 't': options.patience = atof(optarg); break;
      case 'b': options.binary = true; break;
      case 'k': options.keep_alive = true; break;
      default: return false;
    }
  }
  return true;
}

static bool parse_ports(const char *text) {
  for (char *rest; *text; text = *rest ? rest + 1 : rest) {
    long port = strtol(text, &rest, 10);
    if (rest == text || (*rest && *rest != ',') || port < 1 || port > 65535 || options.port_count == MAX_PORTS) return false;
    options.ports[options.port_count++] = (int)port;
  }
  return options.port_count > 0;
}

static int check(void) {
  if (options.conns < 1 || options.conns > 1000000) return usage("CONNS is 1 to 1000000");
  if (options.window < 1 || options.window > MAX_WINDOW) return usage("WINDOW is 1 to 64");
  if (options.payload_length < 0 || options.payload_length > MAX_PAYLOAD) return usage("PAYLOAD is 0 to 1000000");
  if (options.processes < 1 || options.processes > MAX_PROCESSES) return usage("--processes is 1 to 16");
  if (options.processes > options.conns) return usage("--processes is more than CONNS");
  if (options.scenario->alone && options.processes > 1) return usage("this mode is for one process");
  if (options.scenario == &open_loop && options.rate <= 0) return usage("open needs a --rate");
  if (options.binary && options.scenario != &echo) return usage("--binary is for echo");
  if (options.scenario == &bcast) options.room = options.conns;
  if (options.scenario == &rooms && (options.room < 1 || options.conns % options.room)) return usage("CONNS is a multiple of --room");
  return 0;
}

static int parse(int argc, char **argv) {
  if (!parse_flags(argc, argv)) return usage("unknown option, or too many of one");
  char **words = argv + optind;
  int count = argc - optind;
  options.scenario = count ? scenario_named(words[0]) : NULL;
  if (!options.scenario) return usage("the mode is missing or unknown");
  if (count != (options.scenario->messages ? 7 : 5)) return usage("wrong number of arguments");
  options.host = words[1];
  if (!parse_ports(words[2])) return usage("PORT is 1 to 65535, or several of them with commas between");
  options.conns = atoi(words[3]);
  options.seconds = atof(words[4]);
  if (options.scenario->messages) {
    options.window = atoi(words[5]);
    options.payload_length = atoi(words[6]);
  }
  return check();
}

static void raise_file_limit(void) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

static void print(const Tally *all, const Measured *m) {
  double count = (double)all->count, each = all->count ? 1e6 / count : 0;
  printf("{\"mode\":\"%s\",\"conns\":%d,\"window\":%d,\"payload\":%d,\"count\":%.0f,\"seconds\":%.3f,\"per_second\":%.1f,",
         options.scenario->name, options.conns, options.window, options.payload_length, count, m->seconds, count / m->seconds);
  printf("\"cpu_us\":%.3f,\"beside_us\":%.3f,\"rss_kb\":%ld,\"servers_kb\":%ld,\"beside_kb\":%ld,\"kernel_kb\":%ld", m->cpu * each,
         m->beside_cpu * each, m->grown_kb, m->servers_kb, m->beside_kb, m->kernel_kb);
  static const struct { const char *name; double part; } told[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
  for (size_t i = 0; i < sizeof told / sizeof *told; i++) printf(",\"%s_ms\":%.3f", told[i].name, latency_ms(all, told[i].part));
  for (int kind = 0; kind < FAULTS; kind++) printf(",\"%s\":%llu", fault_names[kind], (unsigned long long)all->faults[kind]);
  printf("}\n");
}

int main(int argc, char **argv) {
  int mistake = parse(argc, argv);
  if (mistake) return mistake;
  raise_file_limit();
  Tally all = {0};
  Measured measured = {0};
  run(&all, &measured);
  print(&all, &measured);
  for (int kind = 0; kind < FAULTS; kind++)
    if (all.faults[kind]) return 1;
  return 0;
}
