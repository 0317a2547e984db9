/* Preloaded into a program on the virtual phone: its clock is what clock_plugin.c has added up.
 *
 * On a phone that has a body (../physics) that sum is what its biggest core would need at its
 * highest clock; how long it takes there, and how warm it gets, the body says.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "physics.h"

/* Programs subtract times, and some take zero for "never". */
enum { SECONDS_SINCE_BOOT = 1000 };

static const volatile uint64_t *clock_ps;
static uint64_t worked_ps;
static Phone phone;
static int core;
static bool has_body;

__attribute__((constructor)) static void map_clock(void) {
    const char *path = getenv("MNASFPN_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = file < 0 ? MAP_FAILED
                            : mmap(NULL, sizeof(uint64_t), PROT_READ, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "ERROR: the virtual phone has no clock at MNASFPN_CLOCK=%s\n",
                path ? path : "");
        _exit(EXIT_FAILURE);
    }
    clock_ps = memory;
    close(file);
    unlink(path); /* the mapping keeps it alive; nothing is left behind */
    has_body = !access("/data/phone/physics", R_OK);
    if (!has_body) return;
    phone = enter_phone("", "/data/kernel");
    core = choose_core(&phone);
}

__attribute__((destructor)) static void leave(void) {
    if (has_body) leave_phone(&phone);
}

static double now_ns(void) {
    uint64_t now_ps = *clock_ps;
    if (!has_body) return (double)now_ps / 1000 + SECONDS_SINCE_BOOT * 1e9;
    work(&phone, core, (double)(now_ps - worked_ps) * 1e-12 * most_hz(&phone));
    worked_ps = now_ps;
    return phone.now_s * 1e9;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    double now = now_ns();
    time->tv_sec = (time_t)(now / 1e9);
    time->tv_nsec = (long)(now - (double)time->tv_sec * 1e9);
    return 0;
}
