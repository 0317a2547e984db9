#include "statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void add_sample(Samples *samples, int64_t value_us) {
    if (samples->count == samples->capacity) {
        samples->capacity = samples->capacity ? 2 * samples->capacity : 64;
        samples->values_us = realloc(samples->values_us, samples->capacity * sizeof(int64_t));
        if (!samples->values_us) abort();
    }
    samples->values_us[samples->count++] = value_us;
}

double mean_us(const Samples *samples) {
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++) sum += (double)samples->values_us[i];
    return samples->count ? sum / (double)samples->count : 0;
}

static double deviation_us(const Samples *samples) {
    double mean = mean_us(samples), sum = 0;
    for (size_t i = 0; i < samples->count; i++) {
        double difference = (double)samples->values_us[i] - mean;
        sum += difference * difference;
    }
    return sqrt(sum / (double)samples->count);
}

static int ascending(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int64_t quantile(const int64_t *sorted, size_t count, double fraction) {
    return sorted[(size_t)lround(fraction * (double)(count - 1))];
}

void print_statistics(const Samples *samples) {
    size_t count = samples->count;
    printf("count=%zu", count);
    if (!count) return;
    int64_t *sorted = malloc(count * sizeof *sorted);
    if (!sorted) abort();
    memcpy(sorted, samples->values_us, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    long long first = samples->values_us[0], last = samples->values_us[count - 1];
    long long least = sorted[0], most = sorted[count - 1];
    if (least == most) {
        printf(count > 1 ? " curr=%lld(all same)" : " curr=%lld", last);
    } else {
        printf(" first=%lld curr=%lld min=%lld max=%lld avg=%g std=%lld", first, last, least, most,
               mean_us(samples), (long long)deviation_us(samples));
    }
    printf(" p5=%lld median=%lld p95=%lld", (long long)quantile(sorted, count, 0.05),
           (long long)quantile(sorted, count, 0.5), (long long)quantile(sorted, count, 0.95));
    free(sorted);
}
