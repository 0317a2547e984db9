/* One compiled model with its buffers: CPU only, one signature, inputs filled with fixed noise. */
#ifndef MNASFPN_MODEL_H
#define MNASFPN_MODEL_H

#include <stdbool.h>

#include "flags.h"
#include "litert.h"

typedef struct {
    Handle compiled;
    Handle subgraph;
    size_t signature;
    size_t input_count, output_count;
    Handle *inputs, *outputs;
} Model;

/* Exits with a message when the file is not a model or the runtime rejects it. */
Model load_model(const Flags *flags);

bool run_model(const Model *model);

#endif
