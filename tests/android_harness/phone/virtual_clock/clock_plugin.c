/* A QEMU plugin that turns executed AArch64 instructions into simulated time.
 *
 * Every instruction class costs a fixed number of picoseconds, given by the caller. The sum is kept
 * in a small file that the guest maps as its clock (clock_guest.c), so that a model's latency is
 * the same in every run, to the last digit. There are no caches and no pipeline: the costs are
 * invented, and so are the milliseconds.
 *
 * The declarations are those of QEMU's plugin API, version 1 (QEMU 4.2 to 8.2).
 *
 *   qemu-aarch64 -plugin clock_plugin.so,clock=FILE,scalar=100,branch=150,...  program
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(
    uint64_t id, void (*callback)(uint64_t id, struct qemu_plugin_tb *block));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation,
                                                     void *target, uint64_t value);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block,
                                                        size_t index);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);

EXPORT int qemu_plugin_version = 1;

/* Encodings of the Arm Architecture Reference Manual (A64); the first row that matches decides. */
static struct Class {
    const char *name;
    uint32_t mask, bits;
    uint64_t cost_ps;
} classes[] = {
    {"vector_fma", 0xBF20FC00, 0x0E20CC00, 0}, /* FMLA, FMLS by vector */
    {"vector_fma", 0xBF80B400, 0x0F801000, 0}, /* FMLA, FMLS by element */
    {"vector_fma", 0x5F000000, 0x1F000000, 0}, /* FMADD and its kin */
    {"vector", 0x0E000000, 0x0E000000, 0},     /* other SIMD and floating point */
    {"vector_memory", 0x0E000000, 0x0C000000, 0},
    {"memory", 0x0A000000, 0x08000000, 0},
    {"branch", 0x1C000000, 0x14000000, 0}, /* with exceptions and system instructions */
    {"scalar", 0x00000000, 0x00000000, 0},
};
enum { CLASSES = sizeof classes / sizeof *classes };

static uint64_t *clock_ps;

static uint64_t cost_ps(const struct qemu_plugin_insn *instruction) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
    int i = 0;
    while ((word & classes[i].mask) != classes[i].bits) i++;
    return classes[i].cost_ps;
}

static void block_translated(uint64_t id, struct qemu_plugin_tb *block) {
    uint64_t sum = 0;
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++)
        sum += cost_ps(qemu_plugin_tb_get_insn(block, i));
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, clock_ps, sum);
}

static uint64_t *map_clock(const char *path) {
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof(uint64_t))) return NULL;
    void *memory = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return memory == MAP_FAILED ? NULL : memory;
}

static void set_cost(const char *name, size_t length, const char *value) {
    for (int i = 0; i < CLASSES; i++)
        if (strlen(classes[i].name) == length && !strncmp(classes[i].name, name, length))
            classes[i].cost_ps = strtoull(value, NULL, 10);
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        if (!value) continue;
        if (!strncmp(argv[i], "clock=", 6))
            clock_ps = map_clock(value + 1);
        else
            set_cost(argv[i], (size_t)(value - argv[i]), value + 1);
    }
    for (int i = 0; i < CLASSES; i++)
        if (!classes[i].cost_ps) {
            fprintf(stderr, "clock_plugin: no cost for %s\n", classes[i].name);
            return 1;
        }
    if (!clock_ps) {
        fprintf(stderr, "clock_plugin: cannot write the clock=FILE\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    return 0;
}
