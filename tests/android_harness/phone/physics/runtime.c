/* A runtime that computes no tensors, only how long that takes on the simulated phone.
 *
 * Linked with mnasfpn's benchmark runner in place of LiteRT: the runner's flags, repetitions and
 * output are what they are, and its clock is the phone's.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "model.h"
#include "model_work.h"
#include "op_profile.h"
#include "physics.h"

static const double CYCLES_PER_MB = 2e6; /* of reading a file and preparing its tensors */

static Phone phone;
static int core;
static Work needed;

int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    time->tv_sec = (time_t)phone.now_s;
    time->tv_nsec = (long)((phone.now_s - (double)time->tv_sec) * 1e9);
    return 0;
}

static void leave(void) { leave_phone(&phone); }

void load_litert(void) {
    phone = enter_phone("", "/sys");
    core = choose_core(&phone);
    atexit(leave);
}

/* As Android does it: the process is killed, or the phone is so short that its watchdog restarts
 * it, which here is a signal to its init. */
static void run_out_of_memory(void) {
    leave_phone(&phone);
    fflush(stdout);
    if (phone.restarts_without_memory && !kill(1, SIGUSR1)) pause();
    raise(SIGKILL);
}

Model load_model(const Flags *flags) {
    needed = model_work(flags->graph);
    if (needed.mb > phone.memory_mb) run_out_of_memory();
    printf("INFO: Loaded model %s\n", flags->graph);
    work(&phone, core, CYCLES_PER_MB * needed.mb);
    needed.cycles *= disturbance(&phone, phone.restlessness);
    return (Model){0};
}

bool run_model(const Model *model) {
    (void)model;
    work(&phone, core, needed.cycles * disturbance(&phone, phone.noise));
    return true;
}

OpProfile open_op_profile(const Model *model) {
    (void)model;
    fprintf(stderr, "ERROR: the simulated runtime has no operator profile\n");
    exit(EXIT_FAILURE);
}

void begin_profiled_run(OpProfile *profile) { (void)profile; }
void end_profiled_run(OpProfile *profile, const Model *model) { (void)profile, (void)model; }
void print_op_profile(const OpProfile *profile, const Flags *flags) { (void)profile, (void)flags; }
void write_op_samples(const OpProfile *profile, const char *path) { (void)profile, (void)path; }
