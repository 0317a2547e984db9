/* The `count=` line of benchmark_model since LiteRT 1.1: integer microseconds, %g averages. */
#ifndef MNASFPN_STATISTICS_H
#define MNASFPN_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t *values_us;
    size_t count;
    size_t capacity;
} Samples;

void add_sample(Samples *samples, int64_t value_us);
double mean_us(const Samples *samples);

/* `count=3 first=9 curr=7 min=7 max=9 avg=8 std=0 p5=7 median=8 p95=9`, no prefix, no newline. */
void print_statistics(const Samples *samples);

#endif
