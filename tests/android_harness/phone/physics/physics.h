/* The body of a simulated phone: its time, its heat, and what heat does to its clocks.
 *
 * Time passes only while the phone works or is told to rest, so it may run faster than ours.
 *
 * Heat is a first-order (lumped capacity) model: C dT/dt = P - (T - ambient) / R, with P the power
 * of an idle phone and, while a core works, watts * (f / f_max)^3 of its cluster (dynamic power goes
 * with f V^2, and V about with f). The clock is what Linux' `step_wise` thermal governor makes of T:
 * every POLL_S one step down above the throttling temperature, one up again below it less the
 * hysteresis. The constants are in simulated_phone.py; they are of no real phone.
 *
 * What the kernel and Android would show of it (thermal zones, cur_freq, time_in_state, thermal
 * status) is written into the phone's files by leave_phone.
 */
#ifndef MNASFPN_PHYSICS_H
#define MNASFPN_PHYSICS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { MOST_CLUSTERS = 4, MOST_CLOCKS = 32, MOST_ZONES = 16, MOST_NAME = 128 };

typedef struct {
    int first, last;    /* cores */
    double per_cycle;   /* work that a cycle does, of what a cycle of the biggest core does */
    double watts;       /* of one busy core at the highest clock */
    char folder[MOST_NAME]; /* its cpufreq files, below /sys/devices/system/cpu */
    int clocks, cap, now;   /* how many; the highest allowed; the present one */
    double khz[MOST_CLOCKS], spent_s[MOST_CLOCKS];
} Cluster;

typedef struct {
    char file[MOST_NAME];         /* below /sys/class/thermal */
    double share, unit;           /* of the rise above ambient; units per degree Celsius */
} Zone;

typedef struct {
    char root[PATH_MAX / 4], sysfs[PATH_MAX / 4]; /* of its files; where it has its /sys */
    int lock;
    double slowness, noise, restlessness, memory_mb;
    bool restarts_without_memory; /* else the program is killed */
    double ambient_c, c_per_w, j_per_c, idle_w, throttle_c, hysteresis_c;
    int clusters, zones;
    Cluster cluster[MOST_CLUSTERS];
    Zone zone[MOST_ZONES];
    double now_s, core_c;
    uint64_t random;
} Phone;

/* Reads the phone's body and holds it, alone, until leave_phone. Exits with a message without.
 *
 * root is where the phone's files begin, empty on the phone itself. A program under QEMU sees
 * QEMU's own /sys: for it the phone's is at /data/kernel as well. */
Phone enter_phone(const char *root, const char *sysfs);

/* Writes what has become of it. */
void leave_phone(Phone *phone);

/* For this process: of the cores that are on and in the mask that the phone's taskset noted for it
 * or for one of its parents. The scheduler's choice among several is random. */
int choose_core(Phone *phone);

/* Cycles of the biggest core's kind, done by this core at whatever clock heat leaves it. */
void work(Phone *phone, int core, double cycles);

/* How many cycles the biggest core does in a second at its highest clock. */
double most_hz(const Phone *phone);

void rest(Phone *phone, double seconds);

/* Lognormal about 1: how much longer something takes than it should. */
double disturbance(Phone *phone, double sigma);

#endif
