#include "flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_int(const char *text, int *value) {
    char *end;
    long number = strtol(text, &end, 10);
    *value = (int)number;
    return *text && !*end && number == *value;
}

static bool read_float(const char *text, float *value) {
    char *end;
    *value = strtof(text, &end);
    return *text && !*end;
}

static bool read_bool(const char *text, bool *value) {
    bool yes = !strcmp(text, "true") || !strcmp(text, "1");
    *value = yes;
    return yes || !strcmp(text, "false") || !strcmp(text, "0");
}

static bool read_string(const char *text, string *value) {
    *value = text;
    return true;
}

static void print_int(FILE *file, int value) { fprintf(file, "%d", value); }
static void print_float(FILE *file, float value) { fprintf(file, "%g", value); }
static void print_bool(FILE *file, bool value) { fprintf(file, "%d", value); }
static void print_string(FILE *file, string value) { fprintf(file, "%s", value); }

/* The text after `--name=`, "true" for a bare `--name`, NULL when it is another flag. */
static const char *value_of(const char *argument, const char *name) {
    size_t length = strlen(name);
    if (strncmp(argument, "--", 2) || strncmp(argument + 2, name, length)) return NULL;
    if (argument[2 + length] == '=') return argument + 3 + length;
    return argument[2 + length] ? NULL : "true";
}

static void print_usage(const Flags *flags, const char *program) {
    fprintf(stderr, "usage: %s\nFlags:\n", program);
#define USAGE(type, name, value, label)                                                            \
    fprintf(stderr, "\t--%s=", #name);                                                             \
    print_##type(stderr, flags->name);                                                             \
    fprintf(stderr, "\t%s\t%s\n", #type, label);
    FLAGS(USAGE)
#undef USAGE
}

Flags read_flags(int argc, char **argv) {
    Flags flags = {
#define DEFAULT(type, name, value, label) .name = value,
        FLAGS(DEFAULT)
#undef DEFAULT
    };
    for (int i = 1; i < argc; i++) {
        const char *text;
        bool known = false;
        if (!strcmp(argv[i], "--help")) {
            print_usage(&flags, argv[0]);
            exit(EXIT_SUCCESS);
        }
#define READ(type, name, value, label)                                                             \
    if ((text = value_of(argv[i], #name))) {                                                       \
        known = true;                                                                              \
        flags.given.name++;                                                                        \
        if (!read_##type(text, &flags.name)) {                                                     \
            fprintf(stderr, "ERROR: Failed to parse flag '%s' against argv '%s'\n", #name, text);  \
            exit(EXIT_FAILURE);                                                                    \
        }                                                                                          \
    }
        FLAGS(READ)
#undef READ
        if (!known) printf("WARN: Unconsumed cmdline flags: %s\n", argv[i]);
    }
#define REPEATED(type, name, value, label)                                                         \
    if (flags.given.name > 1) printf("WARN: Duplicate flags: %s\n", #name);
    FLAGS(REPEATED)
#undef REPEATED
    return flags;
}

void echo_flags(const Flags *flags) {
    printf("INFO: Log parameter values verbosely: [%d]\n", flags->verbose);
#define ECHO(type, name, value, label)                                                             \
    if (strcmp(#name, "verbose") && (flags->verbose || flags->given.name)) {                       \
        printf("INFO: %s: [", label);                                                              \
        print_##type(stdout, flags->name);                                                                  \
        printf("]\n");                                                                             \
    }
    FLAGS(ECHO)
#undef ECHO
}
