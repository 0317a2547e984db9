/* Command line flags: the names, defaults and echo labels of benchmark_model, as one table.
 *
 * op_samples_file alone is ours: every sample of every operator, where that tool keeps averages.
 */
#ifndef MNASFPN_FLAGS_H
#define MNASFPN_FLAGS_H

#include <stdbool.h>

/* F(C type, name, default, label of the echo line) */
#define FLAGS(F)                                                                                   \
    F(int, num_runs, 50, "Min num runs")                                                           \
    F(float, min_secs, 1.0f, "Min runs duration (seconds)")                                        \
    F(float, max_secs, 150.0f, "Max runs duration (seconds)")                                      \
    F(float, run_delay, -1.0f, "Inter-run delay (seconds)")                                        \
    F(int, num_threads, -1, "Num threads")                                                         \
    F(int, warmup_runs, 1, "Min warmup runs")                                                      \
    F(float, warmup_min_secs, 0.5f, "Min warmup runs duration (seconds)")                          \
    F(bool, verbose, false, "Log parameter values verbosely")                                      \
    F(bool, dry_run, false, "Run w/o invoking kernels")                                            \
    F(string, graph, "", "Graph")                                                                  \
    F(string, signature_to_run_for, "", "Signature to run")                                        \
    F(bool, enable_op_profiling, false, "Enable op profiling")                                     \
    F(string, op_profiling_output_mode, "stdout", "Op profiling output mode")                      \
    F(string, op_profiling_output_file, "", "Op profiling output file")                            \
    F(string, profiling_output_csv_file, "", "CSV File to export profiling data to")               \
    F(string, op_samples_file, "", "Op samples file")                                              \
    F(bool, use_xnnpack, true, "Use xnnpack")

typedef const char *string;

typedef struct {
#define DECLARE(type, name, value, label) type name;
    FLAGS(DECLARE)
#undef DECLARE
    struct {
#define DECLARE(type, name, value, label) int name;
        FLAGS(DECLARE)
#undef DECLARE
    } given; /* how often each flag was on the command line */
} Flags;

/* Reads the command line as benchmark_model does: a value that cannot be read ends the run, a flag
 * nobody knows is warned about and ignored, and of a flag given twice the last one counts. --help
 * lists the flags and ends. */
Flags read_flags(int argc, char **argv);

/* Prints the values that were given (or all with --verbose) in benchmark_model's echo lines. */
void echo_flags(const Flags *flags);

#endif
