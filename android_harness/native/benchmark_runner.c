/* mnasfpn's benchmark runner: times one .tflite model through libLiteRt.so.
 *
 * It takes the flags of TensorFlow Lite's benchmark_model and prints in its format (that of LiteRT
 * 1.1 and later), so that whatever reads that tool's output reads this one's. It is not that tool:
 * it measures a whole LiteRtRunCompiledModel call, which registers and synchronises buffers around
 * the interpreter's work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "flags.h"
#include "litert.h"
#include "model.h"
#include "op_profile.h"
#include "statistics.h"

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static double peak_memory_mb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void wait_s(float seconds) {
    if (seconds <= 0) return;
    struct timespec pause = {(time_t)seconds, (long)((seconds - (float)(time_t)seconds) * 1e9f)};
    nanosleep(&pause, NULL);
}

/* Runs until both the number and the time are reached, or the time limit is. */
static Samples repeat(const Model *model, int runs, float min_secs, const Flags *flags,
                      OpProfile *profile) {
    if (flags->dry_run) runs = 0, min_secs = 0;
    printf("INFO: Running benchmark for at least %d iterations and at least %g seconds but "
           "terminate if exceeding %g seconds.\n", runs, min_secs, flags->max_secs);
    fflush(stdout);
    Samples samples = {0};
    int64_t start = now_us(), end = start;
    int64_t earliest = start + (int64_t)(min_secs * 1e6f);
    int64_t latest = start + (int64_t)((double)flags->max_secs * 1e6);
    bool success = true;
    for (int run = 0; success && (run < runs || end < earliest) && end <= latest; run++) {
        if (profile) begin_profiled_run(profile);
        int64_t begin = now_us();
        success = run_model(model);
        end = now_us();
        if (profile && success) end_profiled_run(profile, model);
        add_sample(&samples, end - begin);
        wait_s(flags->run_delay);
    }
    printf("INFO: ");
    print_statistics(&samples);
    printf("\n\n");
    fflush(stdout);
    if (success) return samples;
    fprintf(stderr, "ERROR: Benchmarking failed.\n");
    exit(EXIT_FAILURE);
}

static void introduce(const Flags *flags) {
    const char *simulated = getenv("MNASFPN_SIMULATED_DEVICE");
    printf("INFO: mnasfpn benchmark_runner over LiteRT; not Google's benchmark_model.\n");
    if (simulated)
        printf("INFO: SIMULATED device: %s. Its times are computed, not measured.\n", simulated);
    printf("INFO: STARTING!\n");
    echo_flags(flags);
    if (flags->num_threads > 0)
        printf("INFO: #threads used for CPU inference: [%d]\n", flags->num_threads);
}

static double file_size_mb(const char *path) {
    struct stat file;
    if (!stat(path, &file)) return (double)file.st_size / 1e6;
    fprintf(stderr, "ERROR: Failed to load the model: no file %s\nERROR: Benchmarking failed.\n",
            path);
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv) {
    Flags flags = read_flags(argc, argv);
    introduce(&flags);
    double size_mb = file_size_mb(flags.graph), start_mb = peak_memory_mb();
    load_litert();
    int64_t start = now_us();
    Model model = load_model(&flags);
    int64_t init_us = now_us() - start;
    double init_mb = peak_memory_mb();
    printf("INFO: The input model file size (MB): %g\n", size_mb);
    printf("INFO: Initialized session in %gms.\n", (double)init_us / 1000);

    Samples warmup = repeat(&model, flags.warmup_runs, flags.warmup_min_secs, &flags, NULL);
    OpProfile profile = {0};
    if (flags.enable_op_profiling) profile = open_op_profile(&model);
    Samples runs = repeat(&model, flags.num_runs, flags.min_secs, &flags,
                          flags.enable_op_profiling ? &profile : NULL);

    printf("INFO: Inference timings in us: Init: %lld, First inference: %lld, Warmup (avg): %g, "
           "Inference (avg): %g\n", (long long)init_us,
           (long long)(warmup.count ? warmup.values_us[0] : 0), mean_us(&warmup), mean_us(&runs));
    printf("INFO: Note: as the benchmark tool itself affects memory footprint, the following is "
           "only APPROXIMATE to the actual memory footprint of the model at runtime. Take the "
           "information at your discretion.\n");
    printf("INFO: Memory footprint delta from the start of the tool (MB): init=%g overall=%g\n",
           init_mb - start_mb, peak_memory_mb() - start_mb);
    if (flags.enable_op_profiling) print_op_profile(&profile, &flags);
    if (flags.enable_op_profiling && *flags.op_samples_file)
        write_op_samples(&profile, flags.op_samples_file);
    return EXIT_SUCCESS;
}
