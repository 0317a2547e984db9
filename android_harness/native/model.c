#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT32 = 1, UINT8 = 3, INT8 = 9 };

/* Adds options that LiteRT reads as TOML text; it frees the text itself. */
static void add_options(Handle options, const char *identifier, const char *toml) {
    Handle opaque;
    require(litert.CreateOpaqueOptions(identifier, strdup(toml), free, &opaque), identifier);
    require(litert.AddOpaqueOptions(options, opaque), identifier);
}

static Handle compile_options(const Flags *flags) {
    Handle options;
    char text[128];
    require(litert.CreateOptions(&options), "create options");
    require(litert.SetOptionsHardwareAccelerators(options, ACCELERATOR_CPU), "choose the CPU");
    int threads = flags->num_threads > 0 ? flags->num_threads : 1;
    snprintf(text, sizeof text, "kernel_mode = \"%s\"\nnum_threads = %d\n",
             flags->use_xnnpack ? "delegate" : "builtin", threads);
    add_options(options, "xnnpack", text);
    if (flags->enable_op_profiling)
        add_options(options, "runtime_options_string", "enable_profiling = true\n");
    return options;
}

static size_t find_signature(Handle model, const char *wanted) {
    size_t count;
    require(litert.GetNumModelSignatures(model, &count), "count the signatures");
    for (size_t i = 0; i < count; i++) {
        Handle signature;
        const char *key;
        require(litert.GetModelSignature(model, i, &signature), "read a signature");
        require(litert.GetSignatureKey(signature, &key), "read a signature's key");
        if (*wanted ? !strcmp(key, wanted) : count == 1) return i;
    }
    fprintf(stderr, "ERROR: No signature '%s' among %zu; give --signature_to_run_for.\n", wanted,
            count);
    exit(EXIT_FAILURE);
}

/* The same noise in every run and on every machine. */
static void fill(void *memory, size_t bytes, int element_type) {
    uint32_t state = 1;
    float *floats = memory;
    uint8_t *integers = memory;
    memset(memory, 0, bytes);
    for (size_t i = 0; i < bytes / (element_type == FLOAT32 ? sizeof(float) : 1); i++) {
        state = state * 1664525u + 1013904223u;
        if (element_type == FLOAT32) floats[i] = (float)(state >> 8) / (1 << 24) - 0.5f;
        if (element_type == UINT8 || element_type == INT8) integers[i] = (uint8_t)(state >> 24);
    }
}

static Handle create_buffer(Handle environment, Handle tensor, Handle requirements, bool input) {
    TensorType type;
    Handle buffer;
    void *memory;
    size_t bytes;
    require(litert.GetRankedTensorType(tensor, &type), "read a tensor's type");
    require(litert.CreateManagedTensorBufferFromRequirements(environment, &type, requirements,
                                                             &buffer),
            "allocate tensors");
    if (!input) return buffer;
    require(litert.GetTensorBufferSize(buffer, &bytes), "read a tensor's size");
    require(litert.LockTensorBuffer(buffer, &memory, LOCK_FOR_WRITING), "lock an input");
    fill(memory, bytes, type.element_type);
    require(litert.UnlockTensorBuffer(buffer), "unlock an input");
    return buffer;
}

static Handle *allocate(size_t count) {
    Handle *handles = calloc(count ? count : 1, sizeof *handles);
    if (!handles) abort();
    return handles;
}

static void create_buffers(Model *model, Handle environment, Handle signature) {
    Handle tensor, requirements;
    require(litert.GetNumSignatureInputs(signature, &model->input_count), "count inputs");
    require(litert.GetNumSignatureOutputs(signature, &model->output_count), "count outputs");
    model->inputs = allocate(model->input_count);
    model->outputs = allocate(model->output_count);
    for (size_t i = 0; i < model->input_count; i++) {
        require(litert.GetSignatureInputTensorByIndex(signature, i, &tensor), "find an input");
        require(litert.GetCompiledModelInputBufferRequirements(model->compiled, model->signature, i,
                                                               &requirements),
                "size an input");
        model->inputs[i] = create_buffer(environment, tensor, requirements, true);
    }
    for (size_t i = 0; i < model->output_count; i++) {
        require(litert.GetSignatureOutputTensorByIndex(signature, i, &tensor), "find an output");
        require(litert.GetCompiledModelOutputBufferRequirements(model->compiled, model->signature,
                                                                i, &requirements),
                "size an output");
        model->outputs[i] = create_buffer(environment, tensor, requirements, false);
    }
}

Model load_model(const Flags *flags) {
    /* Without the mask LiteRT goes looking for GPU and NPU libraries at every start. */
    EnvironmentOption options[] = {
        {ENVIRONMENT_ACCELERATORS, {ANY_IS_INT, ACCELERATOR_CPU}},
        {ENVIRONMENT_LOG_SEVERITY,
         {ANY_IS_INT, flags->verbose ? SEVERITY_VERBOSE : SEVERITY_WARNING}},
    };
    Handle environment, file, signature;
    Model model = {0};
    require(litert.CreateEnvironment(2, options, &environment), "create the LiteRT environment");
    require(litert.CreateModelFromFile(environment, flags->graph, &file), "load the model");
    printf("INFO: Loaded model %s\n", flags->graph);
    require(litert.CreateCompiledModel(environment, file, compile_options(flags), &model.compiled),
            "allocate tensors and apply the delegate");
    model.signature = find_signature(file, flags->signature_to_run_for);
    require(litert.GetModelSignature(file, model.signature, &signature), "read the signature");
    require(litert.GetSignatureSubgraph(signature, &model.subgraph), "read the graph");
    create_buffers(&model, environment, signature);
    return model;
}

bool run_model(const Model *model) {
    return litert.RunCompiledModel(model->compiled, model->signature, model->input_count,
                                   model->inputs, model->output_count, model->outputs) == 0;
}
