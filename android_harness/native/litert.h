/* The few functions of the LiteRT C API that the runner calls, found in libLiteRt.so at run time.
 *
 * Declared here from the API's public documentation, so that no LiteRT header is needed to build.
 * The layout of the profiler's event differs between releases and is checked when it is read.
 */
#ifndef MNASFPN_LITERT_H
#define MNASFPN_LITERT_H

#include <stddef.h>
#include <stdint.h>

typedef int Status; /* 0 is success */
typedef struct Opaque *Handle;

enum { ACCELERATOR_CPU = 1, LOCK_FOR_WRITING = 1, MAX_RANK = 8 };
enum { ENVIRONMENT_ACCELERATORS = 24, ENVIRONMENT_LOG_SEVERITY = 25, ANY_IS_INT = 2 };
enum { SEVERITY_VERBOSE = 0, SEVERITY_WARNING = 2 };

typedef struct {
    int tag;
    struct {
        int type;
        int64_t value;
    } any;
} EnvironmentOption;

typedef struct {
    int element_type;
    unsigned int rank_and_flags;
    int32_t dimensions[MAX_RANK];
    uint32_t strides[MAX_RANK];
} TensorType;

/* Bits of an event's type: an operator of the interpreter, and one inside a delegate. */
enum { EVENT_GENERAL = 1, EVENT_OPERATOR = 2, EVENT_DELEGATE_OPERATOR = 8 };

typedef struct {
    const char *tag;
    int32_t type;
    uint64_t start_us;
    uint64_t elapsed_us;
    int64_t memory[6];
    uint64_t node;
    uint64_t extra;
    int32_t source;
} Event;

#define LITERT_FUNCTIONS(F)                                                                        \
    F(Status, CreateEnvironment, (int, const EnvironmentOption *, Handle *))                       \
    F(Status, CreateModelFromFile, (Handle environment, const char *, Handle *))                   \
    F(Status, CreateOptions, (Handle *))                                                           \
    F(Status, SetOptionsHardwareAccelerators, (Handle, int))                                       \
    F(Status, CreateOpaqueOptions, (const char *, void *, void (*)(void *), Handle *))             \
    F(Status, AddOpaqueOptions, (Handle options, Handle opaque))                                   \
    F(Status, CreateCompiledModel, (Handle environment, Handle model, Handle options, Handle *))   \
    F(Status, GetNumModelSignatures, (Handle model, size_t *))                                     \
    F(Status, GetModelSignature, (Handle model, size_t, Handle *))                                 \
    F(Status, GetSignatureKey, (Handle signature, const char **))                                  \
    F(Status, GetSignatureSubgraph, (Handle signature, Handle *))                                  \
    F(Status, GetNumSubgraphOps, (Handle subgraph, size_t *))                                      \
    F(Status, GetSubgraphOp, (Handle subgraph, size_t, Handle *))                                  \
    F(Status, GetNumOpOutputs, (Handle op, size_t *))                                              \
    F(Status, GetOpOutput, (Handle op, size_t, Handle *))                                          \
    F(Status, GetTensorName, (Handle tensor, const char **))                                       \
    F(Status, GetNumSignatureInputs, (Handle signature, size_t *))                                 \
    F(Status, GetNumSignatureOutputs, (Handle signature, size_t *))                                \
    F(Status, GetSignatureInputTensorByIndex, (Handle signature, size_t, Handle *))                \
    F(Status, GetSignatureOutputTensorByIndex, (Handle signature, size_t, Handle *))               \
    F(Status, GetRankedTensorType, (Handle tensor, TensorType *))                                  \
    F(Status, GetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle *))         \
    F(Status, GetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle *))        \
    F(Status, CreateManagedTensorBufferFromRequirements,                                           \
      (Handle environment, const TensorType *, Handle requirements, Handle *))                     \
    F(Status, GetTensorBufferSize, (Handle, size_t *))                                             \
    F(Status, LockTensorBuffer, (Handle, void **, int))                                            \
    F(Status, UnlockTensorBuffer, (Handle))                                                        \
    F(Status, RunCompiledModel, (Handle, size_t, size_t, Handle *, size_t, Handle *))              \
    F(Status, CompiledModelGetProfiler, (Handle, Handle *))                                        \
    F(Status, StartProfiler, (Handle))                                                             \
    F(Status, StopProfiler, (Handle))                                                              \
    F(Status, ResetProfiler, (Handle))                                                             \
    F(Status, GetNumProfilerEvents, (Handle, int *))                                               \
    F(Status, GetProfilerEvents, (Handle, int, Event *))

typedef struct {
#define DECLARE(result, name, arguments) result(*name) arguments;
    LITERT_FUNCTIONS(DECLARE)
#undef DECLARE
} LiteRt;

extern LiteRt litert;

/* Finds the library ($LITERT_LIBRARY, else libLiteRt.so on the loader's path) or exits with why. */
void load_litert(void);

/* Exits with a message naming `what` unless `status` is success. */
void require(Status status, const char *what);

#endif
