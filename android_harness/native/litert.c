#include "litert.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

LiteRt litert;

static void *find(void *library, const char *name) {
    void *function = dlsym(library, name);
    if (!function) {
        fprintf(stderr, "ERROR: %s; the runner needs LiteRT 2.1.6 or newer.\n", dlerror());
        exit(EXIT_FAILURE);
    }
    return function;
}

void load_litert(void) {
    const char *path = getenv("LITERT_LIBRARY");
    void *library = dlopen(path ? path : "libLiteRt.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr,
                "ERROR: cannot load LiteRT: %s. Set LITERT_LIBRARY to the libLiteRt.so of the "
                "ai-edge-litert package.\n",
                dlerror());
        exit(EXIT_FAILURE);
    }
    /* CreateModelFromFile takes an environment only since this function exists. */
    find(library, "LiteRtCreateModelFromFd");
#define FIND(result, name, arguments) *(void **)&litert.name = find(library, "LiteRt" #name);
    LITERT_FUNCTIONS(FIND)
#undef FIND
}

void require(Status status, const char *what) {
    if (status == 0) return;
    fprintf(stderr, "ERROR: Failed to %s (LiteRT status %d).\n", what, status);
    fprintf(stderr, "ERROR: Benchmarking failed.\n");
    exit(EXIT_FAILURE);
}
