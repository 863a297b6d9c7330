// The processes, and the phases of a run, which they pass through together.
//
// Rule: whoever waits for the others goes on answering the server meanwhile.
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loadgen.h"

#define PATIENCE 90.0   // seconds for all to connect
#define AFTERMATH 0.2   // in which something could still come twice

Progress progress;

typedef struct {
  atomic_int arrived;   // at meetings so far, by all processes
  Measured measured;    // by the first process
  Tally tallies[MAX_PROCESSES];
} Shared;

static Shared *shared;

static double since(uint64_t begun) { return (double)(now_ns() - begun) / 1e9; }

static void run_for(double seconds) {
  for (uint64_t begun = now_ns(); since(begun) < seconds;) connections_wait(20);
}

static bool run_until_idle(double patience) {
  uint64_t begun = now_ns();
  while (!options.scenario->idle() && since(begun) < patience) connections_wait(20);
  return options.scenario->idle();
}

// Goes on when all processes have come as far.
static void meet(void) {
  static int meetings;
  int all = ++meetings * options.processes;
  atomic_fetch_add(&shared->arrived, 1);
  for (uint64_t begun = now_ns(); atomic_load(&shared->arrived) < all;) {
    connections_wait(1);
    if (since(begun) > PATIENCE) { fault(BROKEN, "another process of the load generator did not come as far"); exit(1); }
  }
}

static bool open_all(void) {
  uint64_t begun = now_ns();
  for (int next = 0; next < progress.conns || progress.opening;) {
    while (next < progress.conns && progress.opening < PARALLEL) options.scenario->open(next++);
    connections_wait(20);
    if (since(begun) > PATIENCE) { fault(REFUSED, "%d connections did not open", progress.opening); return false; }
  }
  return run_until_idle(options.patience);
}

static void open_measured(void) { open_all(); meet(); }
static void run_measured(void) { run_for(options.seconds); }

static long kernel_before;

static void measure(void (*what)(void)) {
  Measured *m = &shared->measured;
  bool first = progress.process == 0;
  progress.measuring = true;
  if (first) {
    kernel_before = kernel_kb();
    m->grown_kb = -resident_kb(&options.servers);
    m->beside_cpu = -cpu_seconds(&options.beside);
    m->cpu = -cpu_seconds(&options.servers);
  }
  uint64_t begun = now_ns();
  what();
  progress.measuring = false;
  if (!first) return;
  m->seconds = since(begun);
  m->cpu += cpu_seconds(&options.servers);
  m->beside_cpu += cpu_seconds(&options.beside);
}

static void see_memory(void) {
  Measured *m = &shared->measured;
  m->servers_kb = resident_kb(&options.servers);
  m->grown_kb += m->servers_kb;
  m->beside_kb = resident_kb(&options.beside);
  m->kernel_kb = kernel_kb() - kernel_before;
}

static void run_process(void) {
  if (options.scenario->opens) {
    meet();
    measure(open_measured);
    run_for(options.seconds);
    if (progress.ready != progress.conns) fault(LOST, "%d of %d connections are held", progress.ready, progress.conns);
  } else {
    if (options.scenario->start) {
      open_all();
      meet();
      options.scenario->start();
    } else for (int i = 0; i < progress.conns; i++) options.scenario->open(i);
    run_for(options.warm_up);
    meet();
    measure(run_measured);
    progress.finishing = true;
    run_until_idle(options.patience);
    run_for(AFTERMATH);
  }
  if (options.scenario->end) options.scenario->end();
  meet();
  if (progress.process == 0) see_memory();
  meet();
}

static pid_t begin(int process) {
  pid_t pid = fork();
  if (pid) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int share = options.conns / options.processes, rest = options.conns % options.processes;
  progress.process = process;
  progress.conns = share + (process < rest);
  progress.first = process * share + (process < rest ? process : rest);
  tally = &shared->tallies[process];
  connections_init();
  scenario_prepare();
  run_process();
  _exit(0);
}

void run(Tally *all, Measured *measured) {
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) abort();
  for (int i = 0; i < options.processes; i++)
    if (begin(i) < 0) abort();
  tally = all;
  for (int status; wait(&status) > 0;)
    if (!WIFEXITED(status) || WEXITSTATUS(status)) fault(BROKEN, "a process of the load generator ended with status %d", status);
  for (int i = 0; i < options.processes; i++) tally_merge(all, &shared->tallies[i]);
  *measured = shared->measured;
  if (!all->count) fault(LOST, "nothing was answered");
}
