/* Preloaded into a program on the virtual phone: its clock is what clock_plugin.c has added up. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Programs subtract times, and some take zero for "never". */
enum { SECONDS_SINCE_BOOT = 1000 };

static const volatile uint64_t *clock_ps;

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
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    uint64_t now_ns = *clock_ps / 1000;
    time->tv_sec = SECONDS_SINCE_BOOT + (time_t)(now_ns / 1000000000);
    time->tv_nsec = (long)(now_ns % 1000000000);
    return 0;
}
