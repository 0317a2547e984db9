#include "physics.h"

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const double POLL_S = 0.1; /* of the thermal governor */
static const double TICKS_PER_S = 100; /* of time_in_state */
static const double SKIN_SHARE = 0.3; /* of the core's rise above the room, felt by the skin */

static _Noreturn void give_up(const char *what, const char *detail) {
    fprintf(stderr, "ERROR: the simulated phone has no %s: %s\n", what, detail);
    exit(EXIT_FAILURE);
}

static const char *path_of(const char *root, const char *format, ...) {
    static char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s", root);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + length, sizeof path - (size_t)length, format, arguments);
    va_end(arguments);
    return path;
}

static void read_cluster(Phone *phone, const char *text) {
    if (phone->clusters == MOST_CLUSTERS) give_up("room for a cluster", text);
    Cluster *cluster = &phone->cluster[phone->clusters++];
    int used, more;
    if (sscanf(text, "%d %d %lf %lf %127s%n", &cluster->first, &cluster->last, &cluster->per_cycle,
               &cluster->watts, cluster->folder, &used) != 5)
        give_up("such cluster", text);
    for (; cluster->clocks < MOST_CLOCKS &&
           sscanf(text + used, "%lf%n", &cluster->khz[cluster->clocks], &more) == 1; used += more)
        cluster->clocks++;
    cluster->cap = cluster->now = cluster->clocks - 1;
}

static void read_zone(Phone *phone, const char *text) {
    if (phone->zones == MOST_ZONES) give_up("room for a thermal zone", text);
    Zone *zone = &phone->zone[phone->zones++];
    if (sscanf(text, "%127s %lf %lf", zone->file, &zone->share, &zone->unit) != 3)
        give_up("such thermal zone", text);
}

static void read_constant(Phone *phone, const char *name, const char *text) {
    const struct {
        const char *name;
        double *value;
    } constants[] = {
        {"slowness", &phone->slowness},   {"noise", &phone->noise},
        {"memory_mb", &phone->memory_mb}, {"ambient_c", &phone->ambient_c},
        {"c_per_w", &phone->c_per_w},     {"j_per_c", &phone->j_per_c},
        {"idle_w", &phone->idle_w},       {"throttle_c", &phone->throttle_c},
        {"restlessness", &phone->restlessness}, {"hysteresis_c", &phone->hysteresis_c},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (!strcmp(constants[i].name, name)) {
            *constants[i].value = strtod(text, NULL);
            return;
        }
    give_up("constant of this name", name);
}

/* Lines of a name and what belongs to it; unknown names are an error. */
static void read_constants(Phone *phone) {
    FILE *file = fopen(path_of(phone->root, "/data/phone/physics"), "r");
    if (!file) give_up("constants", path_of(phone->root, "/data/phone/physics"));
    char line[1024], name[64];
    int used;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s%n", name, &used) != 1) continue;
        if (!strcmp(name, "cluster"))
            read_cluster(phone, line + used);
        else if (!strcmp(name, "zone"))
            read_zone(phone, line + used);
        else if (!strcmp(name, "out_of_memory"))
            phone->restarts_without_memory = strstr(line + used, "restart") != NULL;
        else
            read_constant(phone, name, line + used);
    }
    fclose(file);
}

/* Of a phone that has never been on there is none: then it is as warm as the room, and an hour old.
 */
static void read_state(Phone *phone) {
    phone->now_s = 3600;
    phone->core_c = phone->ambient_c + phone->c_per_w * phone->idle_w;
    phone->random = 0x9E3779B97F4A7C15u;
    FILE *file = fopen(path_of(phone->root, "/data/phone/state"), "r");
    if (!file) return;
    unsigned long long random;
    bool whole = fscanf(file, "%lf %lf %llu", &phone->now_s, &phone->core_c, &random) == 3;
    phone->random = random;
    for (Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++) {
        whole = whole && fscanf(file, "%d", &c->cap) == 1;
        for (int i = 0; i < c->clocks; i++)
            whole = whole && fscanf(file, "%lf", &c->spent_s[i]) == 1;
    }
    fclose(file);
    if (!whole) give_up("whole state", path_of(phone->root, "/data/phone/state"));
}

Phone enter_phone(const char *root, const char *sysfs) {
    Phone phone = {0};
    snprintf(phone.root, sizeof phone.root, "%s", root);
    snprintf(phone.sysfs, sizeof phone.sysfs, "%s", sysfs);
    const char *lock = path_of(phone.root, "/data/phone/lock");
    phone.lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (phone.lock < 0 || flock(phone.lock, LOCK_EX)) give_up("lock", lock);
    read_constants(&phone);
    read_state(&phone);
    return phone;
}

static void govern(Phone *phone) {
    for (Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++) {
        if (phone->core_c > phone->throttle_c && c->cap > 0) c->cap--;
        if (phone->core_c < phone->throttle_c - phone->hysteresis_c && c->cap < c->clocks - 1)
            c->cap++;
    }
}

/* Until the governor looks again at most; idle clusters are at their lowest clock. */
static void pass(Phone *phone, double seconds, Cluster *busy) {
    double power = phone->idle_w;
    for (Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++) {
        c->now = c == busy ? c->cap : 0;
        c->spent_s[c->now] += seconds;
    }
    if (busy) power += busy->watts * pow(busy->khz[busy->cap] / busy->khz[busy->clocks - 1], 3);
    double end_c = phone->ambient_c + phone->c_per_w * power;
    double decay = exp(-seconds / (phone->c_per_w * phone->j_per_c));
    phone->core_c = end_c + (phone->core_c - end_c) * decay;
    double polls = floor(phone->now_s / POLL_S);
    phone->now_s += seconds;
    if (floor(phone->now_s / POLL_S) > polls) govern(phone);
}

/* A little more than is left, so that rounding never leaves an interval that does not end. */
static double until_poll_s(const Phone *phone) {
    return (floor(phone->now_s / POLL_S) + 1) * POLL_S - phone->now_s + 1e-9;
}

static Cluster *cluster_of(Phone *phone, int core) {
    for (Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++)
        if (c->first <= core && core <= c->last) return c;
    give_up("cluster with the core it runs on", "check the mask");
}

void work(Phone *phone, int core, double cycles) {
    Cluster *cluster = cluster_of(phone, core);
    while (cycles > 0) {
        double per_s = cluster->khz[cluster->cap] * 1e3 * cluster->per_cycle / phone->slowness;
        double seconds = fmin(cycles / per_s, until_poll_s(phone));
        pass(phone, seconds, cluster);
        cycles -= seconds * per_s;
        if (cycles < 1e-6 * per_s * POLL_S) break;
    }
}

double most_hz(const Phone *phone) {
    double most = 0;
    for (const Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++)
        most = fmax(most, c->khz[c->clocks - 1] * 1e3 * c->per_cycle);
    return most;
}

void rest(Phone *phone, double seconds) {
    while (seconds > 0) {
        double step = fmin(seconds, until_poll_s(phone));
        pass(phone, step, NULL);
        seconds -= step;
    }
}

/* xorshift64*, Vigna 2016: 53 bits of it. */
static double uniform(Phone *phone) {
    phone->random ^= phone->random >> 12;
    phone->random ^= phone->random << 25;
    phone->random ^= phone->random >> 27;
    return (double)((phone->random * 0x2545F4914F6CDD1Du) >> 11) * 0x1p-53;
}

double disturbance(Phone *phone, double sigma) {
    double radius = sqrt(-2 * log(1 - uniform(phone))), angle = 2 * M_PI * uniform(phone);
    return exp(sigma * radius * cos(angle));
}

static bool read_first(const char *path, const char *format, void *value) {
    FILE *file = fopen(path, "r");
    bool found = file && fscanf(file, format, value) == 1;
    if (file) fclose(file);
    return found;
}

static bool is_on(const Phone *phone, int core) {
    int on = 1; /* a core without the file cannot be switched off */
    read_first(path_of(phone->sysfs, "/devices/system/cpu/cpu%d/online", core), "%d", &on);
    return on;
}

static uint64_t allowed_cores(const Phone *phone) {
    unsigned long long mask;
    char path[64];
    for (int pid = getpid(), parent = getppid(); pid > 1; pid = parent) {
        if (read_first(path_of(phone->root, "/data/affinity/%d", pid), "%llx", &mask)) return mask;
        if (pid == getpid()) continue; /* QEMU has its own idea of what this process is */
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        if (!read_first(path, "%*d (%*[^)]) %*c %d", &parent)) break;
    }
    return UINT64_MAX;
}

int choose_core(Phone *phone) {
    uint64_t allowed = allowed_cores(phone);
    int cores[64], count = 0;
    for (Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++)
        for (int core = c->first; core <= c->last; core++)
            if (allowed >> core & 1 && is_on(phone, core)) cores[count++] = core;
    if (!count) give_up("core that is on and allowed", "check the mask");
    return cores[(int)(uniform(phone) * count)];
}

/* A file of the kernel is there or not, as the test made it: none is made here. */
static FILE *rewritten(const char *path) {
    return access(path, W_OK) ? NULL : fopen(path, "w");
}

static void show(const char *path, double value) {
    FILE *file = rewritten(path);
    if (!file) return;
    fprintf(file, "%.0f\n", value);
    fclose(file);
}

static void show_cluster(const Phone *phone, const Cluster *c) {
    static const char *FORMAT = "/devices/system/cpu/%s/%s";
    show(path_of(phone->sysfs, FORMAT, c->folder, "scaling_cur_freq"), c->khz[c->now]);
    show(path_of(phone->sysfs, FORMAT, c->folder, "scaling_max_freq"), c->khz[c->cap]);
    FILE *file = rewritten(path_of(phone->sysfs, FORMAT, c->folder, "stats/time_in_state"));
    if (!file) return;
    for (int i = 0; i < c->clocks; i++)
        fprintf(file, "%.0f %.0f\n", c->khz[i], floor(c->spent_s[i] * TICKS_PER_S));
    fclose(file);
}

/* Android's scale: 1 when something is throttled, more for every five degrees above. */
static int thermal_status(const Phone *phone) {
    bool throttled = false;
    for (const Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++)
        throttled |= c->cap < c->clocks - 1;
    if (!throttled) return 0;
    return 1 + (int)fmin(fmax(0, (phone->core_c - phone->throttle_c) / 5), 4);
}

/* Whole or not at all: a program that works is ended at any moment. */
static void keep_state(const Phone *phone) {
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path_of(phone->root, "/data/phone/state.part"));
    FILE *file = fopen(part, "w");
    if (!file) give_up("place for its state", part);
    fprintf(file, "%.17g %.17g %llu\n", phone->now_s, phone->core_c,
            (unsigned long long)phone->random);
    for (const Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++) {
        fprintf(file, "%d", c->cap);
        for (int i = 0; i < c->clocks; i++) fprintf(file, " %.17g", c->spent_s[i]);
        fprintf(file, "\n");
    }
    fclose(file);
    if (rename(part, path_of(phone->root, "/data/phone/state"))) give_up("place for its state", part);
}

static double felt_c(const Phone *phone, double share) {
    return phone->ambient_c + share * (phone->core_c - phone->ambient_c);
}

void leave_phone(Phone *phone) {
    keep_state(phone);
    for (const Cluster *c = phone->cluster; c < phone->cluster + phone->clusters; c++)
        show_cluster(phone, c);
    for (const Zone *z = phone->zone; z < phone->zone + phone->zones; z++)
        show(path_of(phone->sysfs, "/class/thermal/%s", z->file), z->unit * felt_c(phone, z->share));
    show(path_of(phone->root, "/data/phone/thermal_status"), thermal_status(phone));
    show(path_of(phone->root, "/data/phone/skin_c"), felt_c(phone, SKIN_SHARE));
    close(phone->lock);
}
