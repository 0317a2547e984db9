#include "op_profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An event of another LiteRT release may be larger: leave room, then check what arrived. */
enum { LARGEST_EVENT_BYTES = 256, NAME_BYTES = 512 };

OpProfile open_op_profile(const Model *model) {
    OpProfile profile = {0};
    require(litert.CompiledModelGetProfiler(model->compiled, &profile.profiler),
            "find the profiler");
    return profile;
}

void begin_profiled_run(OpProfile *profile) {
    require(litert.ResetProfiler(profile->profiler), "reset the profiler");
    require(litert.StartProfiler(profile->profiler), "start the profiler");
}

static void *checked(void *memory) {
    if (!memory) abort();
    return memory;
}

/* A type is a single bit; anything else means that events are laid out differently. */
static void check_layout(const Event *events, int count) {
    for (int i = 0; i < count; i++) {
        int32_t type = events[i].type;
        if (type > 0 && type <= 1 << 12 && !(type & (type - 1)) && events[i].tag) continue;
        fprintf(stderr, "ERROR: This LiteRT lays profiler events out in an unknown way; run "
                        "without --enable_op_profiling or use LiteRT 2.1.6 to 2.3.\n");
        exit(EXIT_FAILURE);
    }
}

/* `a;b` for the output tensors of a node, as benchmark_model names an interpreter's operator. */
static void output_names(const Model *model, uint64_t node, char *text) {
    Handle op, tensor;
    size_t ops, outputs;
    const char *name;
    strcpy(text, "Builtin");
    if (litert.GetNumSubgraphOps(model->subgraph, &ops) || node >= ops) return;
    if (litert.GetSubgraphOp(model->subgraph, node, &op)) return;
    if (litert.GetNumOpOutputs(op, &outputs)) return;
    for (size_t i = 0, used = 0; i < outputs; i++) {
        if (litert.GetOpOutput(op, i, &tensor) || litert.GetTensorName(tensor, &name)) return;
        int printed = snprintf(text + used, NAME_BYTES - used, "%s%s", i ? ", " : "", name);
        used += (size_t)printed;
        if (used >= NAME_BYTES) return;
    }
}

static Row new_row(const Model *model, const Event *event) {
    Row row = {.type = checked(strdup(event->tag)), .name = checked(malloc(2 * NAME_BYTES))};
    char names[NAME_BYTES];
    unsigned long long node = event->node;
    if (event->type == EVENT_DELEGATE_OPERATOR) {
        snprintf(row.name, 2 * NAME_BYTES, "Delegate/%s:%llu", event->tag, node);
    } else {
        output_names(model, event->node, names);
        snprintf(row.name, 2 * NAME_BYTES, "[%s]:%llu", names, node);
    }
    return row;
}

static void add_event(OpProfile *profile, const Model *model, const Event *event, size_t position) {
    if (!profile->totals.count && position == profile->count) {
        profile->rows = checked(realloc(profile->rows, (position + 1) * sizeof(Row)));
        profile->rows[profile->count++] = new_row(model, event);
    }
    if (position >= profile->count || strcmp(profile->rows[position].type, event->tag)) {
        fprintf(stderr, "ERROR: Operator %zu is %s, in an earlier run it was another; cannot "
                        "average.\n", position, event->tag);
        exit(EXIT_FAILURE);
    }
    add_sample(&profile->rows[position].samples, (int64_t)event->elapsed_us);
}

void end_profiled_run(OpProfile *profile, const Model *model) {
    int count;
    require(litert.StopProfiler(profile->profiler), "stop the profiler");
    require(litert.GetNumProfilerEvents(profile->profiler, &count), "count profiler events");
    Event *events = checked(calloc((size_t)count + 1, LARGEST_EVENT_BYTES));
    require(litert.GetProfilerEvents(profile->profiler, count, events), "read profiler events");
    check_layout(events, count);
    size_t position = 0;
    int64_t total_us = 0;
    for (int i = 0; i < count; i++) {
        if (!(events[i].type & (EVENT_OPERATOR | EVENT_DELEGATE_OPERATOR))) continue;
        add_event(profile, model, &events[i], position++);
        total_us += (int64_t)events[i].elapsed_us;
    }
    free(events);
    if (position < profile->count) {
        fprintf(stderr, "ERROR: %zu operators ran, in an earlier run %zu.\n", position,
                profile->count);
        exit(EXIT_FAILURE);
    }
    add_sample(&profile->totals, total_us);
}

static void print_csv_row(FILE *file, const Row *row, double first, double average, double percent,
                          double sum) {
    fprintf(file, "%s, %g, %g, %g%%, %g%%, 0, 1, ", row->type, first, average, percent, sum);
    for (const char *c = row->name; *c; c++) fputc(*c == ',' ? '\t' : *c, file);
    fputc('\n', file);
}

static void print_rows(FILE *file, const OpProfile *profile, bool csv) {
    double total = mean_us(&profile->totals), sum = 0;
    fprintf(file, "============================== Run Order ==============================\n");
    if (csv)
        fprintf(file, "node type, first, avg_ms, %%, cdf%%, mem KB, times called, name\n");
    else
        fprintf(file, "\t%40s\t%9s\t%9s\t%8s\t%8s\t%10s\t%9s\t%s\n", "[node type]", "[first]",
                "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]", "[Name]");
    for (size_t i = 0; i < profile->count; i++) {
        const Row *row = &profile->rows[i];
        double first = (double)row->samples.values_us[0] / 1000;
        double average = mean_us(&row->samples) / 1000;
        double percent = total > 0 ? 100000 * average / total : 0;
        sum += percent;
        if (csv)
            print_csv_row(file, row, first, average, percent, sum);
        else
            fprintf(file, "\t%40s\t%9.3f\t%9.3f\t%7.3f%%\t%7.3f%%\t%10.3f\t%9d\t%s\n", row->type,
                    first, average, percent, sum, 0.0, 1, row->name);
    }
    fprintf(file, "\n");
}

static FILE *open_or_exit(const char *path) {
    FILE *file = fopen(path, "w");
    if (file) return file;
    fprintf(stderr, "ERROR: cannot write the operator profile to %s\n", path);
    exit(EXIT_FAILURE);
}

static void close_or_exit(FILE *file, const char *path) {
    if (!fclose(file)) return;
    fprintf(stderr, "ERROR: cannot write the operator profile to %s\n", path);
    exit(EXIT_FAILURE);
}

void print_op_profile(const OpProfile *profile, const Flags *flags) {
    const char *path = flags->op_profiling_output_file;
    bool csv = !strcmp(flags->op_profiling_output_mode, "csv");
    if (*flags->profiling_output_csv_file) {
        path = flags->profiling_output_csv_file;
        csv = true;
    }
    FILE *file = *path ? open_or_exit(path) : stdout;
    fprintf(file, "%sOperator-wise Profiling Info for Regular Benchmark Runs:\n",
            csv ? "" : "INFO: ");
    print_rows(file, profile, csv);
    if (file != stdout) close_or_exit(file, path);
    if (csv) return;
    printf("Timings (microseconds): ");
    print_statistics(&profile->totals);
    printf("\nMemory (bytes): count=0\n%zu nodes observed\n\n", profile->count);
}

void write_op_samples(const OpProfile *profile, const char *path) {
    FILE *file = open_or_exit(path);
    for (size_t i = 0; i < profile->count; i++) {
        const Row *row = &profile->rows[i];
        fprintf(file, "%s\t%s\t", row->type, row->name);
        for (size_t k = 0; k < row->samples.count; k++)
            fprintf(file, k ? " %lld" : "%lld", (long long)row->samples.values_us[k]);
        fputc('\n', file);
    }
    close_or_exit(file, path);
}
