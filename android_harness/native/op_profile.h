/* The operator profile: one row per executed operator, in execution order, averaged over runs.
 *
 * Read from the profiler's events and not from LiteRT's own summary: the summary keys its rows by
 * name, and XNNPACK numbers its operators anew in every delegate partition, so operators of
 * different partitions would melt into one row there.
 */
#ifndef MNASFPN_OP_PROFILE_H
#define MNASFPN_OP_PROFILE_H

#include "model.h"
#include "statistics.h"

typedef struct {
    char *type; /* `Convolution (NHWC, F32) IGEMM`, `RESIZE_NEAREST_NEIGHBOR` */
    char *name; /* `Delegate/Convolution (NHWC, F32) IGEMM:3`, `[output tensor]:7` */
    Samples samples;
} Row;

typedef struct {
    Handle profiler;
    Row *rows;
    size_t count;
    Samples totals; /* of all operators, one per run */
} OpProfile;

OpProfile open_op_profile(const Model *model);

/* Around every run: begin, run the model, end. */
void begin_profiled_run(OpProfile *profile);
void end_profiled_run(OpProfile *profile, const Model *model);

/* As `Run Order` text with benchmark_model's columns, or as its CSV, to stdout or a file. */
void print_op_profile(const OpProfile *profile, const Flags *flags);

/* One line per operator: type, tab, name, tab, its samples in microseconds separated by spaces. */
void write_op_samples(const OpProfile *profile, const char *path);

#endif
