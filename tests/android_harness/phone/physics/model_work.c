#include "model_work.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of an invented core: multiply-adds of float32 and of 8 bits in a cycle, other results in a cycle,
 * and what every operator costs whatever it does. */
static const double FLOAT_MACS = 8, INT8_MACS = 32, RESULTS = 2, CYCLES_PER_OPERATOR = 4000;

/* Numbers of TensorFlow Lite's schema.fbs (version 3). */
enum { CONV_2D = 3, DEPTHWISE_CONV_2D = 4, FULLY_CONNECTED = 9, CUSTOM = 32, NEWEST_VERSION = 20 };
enum { OPERATOR_CODES = 1, SUBGRAPHS = 2 };                        /* of Model */
enum { TENSORS = 0, OPERATORS = 3 };                               /* of SubGraph */
enum { SHAPE = 0, TYPE = 1 };                                      /* of Tensor */
enum { OLD_CODE = 0, CUSTOM_CODE = 1, VERSION = 2, CODE = 3 };     /* of OperatorCode */
enum { OPERATOR_CODE = 0, INPUTS = 1, OUTPUTS = 2 };               /* of Operator */
enum { INT64 = 4, INT8 = 9 };                                      /* TensorType */
static const uint8_t BYTES[] = {4, 2, 4, 1, 8, 0, 1, 2, 8, 1}; /* of TensorType 0 to 9 */

static uint8_t *file;
static uint32_t size;

static _Noreturn void refuse(const char *why) {
    fprintf(stderr, "ERROR: %s\nERROR: Benchmarking failed.\n", why);
    exit(EXIT_FAILURE);
}

static uint32_t number(uint32_t at, uint32_t bytes) {
    uint32_t value = 0;
    if (at > size || size - at < bytes)
        refuse("The model is not a valid Flatbuffer buffer");
    memcpy(&value, file + at, bytes);
    return value;
}

/* Where a table has a field; 0 when it has not. */
static uint32_t field(uint32_t table, int index) {
    uint32_t entries = table - number(table, 4), entry = 4 + 2 * (uint32_t)index;
    uint32_t offset = entry < number(entries, 2) ? number(entries + entry, 2) : 0;
    return offset ? table + offset : 0;
}

static uint32_t scalar(uint32_t table, int index, uint32_t bytes) {
    uint32_t at = field(table, index);
    return at ? number(at, bytes) : 0;
}

/* A vector of offsets or numbers of four bytes: where its length stands; 0 when it is not there. */
static uint32_t vector(uint32_t table, int index) {
    uint32_t at = field(table, index);
    return at ? at + number(at, 4) : 0;
}

static uint32_t length(uint32_t vector) { return vector ? number(vector, 4) : 0; }

static uint32_t element(uint32_t vector, uint32_t index) {
    if (index >= length(vector)) refuse("The model is not a valid Flatbuffer buffer");
    return number(vector + 4 + 4 * index, 4);
}

static uint32_t table(uint32_t vector, uint32_t index) {
    return vector + 4 + 4 * index + element(vector, index);
}

static double elements(uint32_t tensor) {
    uint32_t shape = vector(tensor, SHAPE);
    double product = 1;
    for (uint32_t i = 0; i < length(shape); i++) product *= (int32_t)element(shape, i);
    return product;
}

/* Multiply-adds for one result: the weights of one output channel. */
static double macs_per_result(uint32_t weights, uint32_t code) {
    uint32_t shape = vector(weights, SHAPE);
    uint32_t channels = element(shape, code == DEPTHWISE_CONV_2D ? length(shape) - 1 : 0);
    return channels ? elements(weights) / channels : 0;
}

static uint32_t known_code(uint32_t operator_code) {
    uint32_t old = scalar(operator_code, OLD_CODE, 1), code = scalar(operator_code, CODE, 4);
    code = code > old ? code : old;
    if (code == CUSTOM) refuse("Encountered unresolved custom op: see the model's custom operators");
    if (scalar(operator_code, VERSION, 4) > NEWEST_VERSION) {
        char why[128];
        snprintf(why, sizeof why, "Didn't find op for builtin opcode '%u' version '%u'", code,
                 scalar(operator_code, VERSION, 4));
        refuse(why);
    }
    return code;
}

static double operator_cycles(uint32_t operator, uint32_t codes, uint32_t tensors) {
    uint32_t code = known_code(table(codes, scalar(operator, OPERATOR_CODE, 4)));
    uint32_t inputs = vector(operator, INPUTS), outputs = vector(operator, OUTPUTS);
    double results = 0;
    for (uint32_t i = 0; i < length(outputs); i++)
        results += elements(table(tensors, element(outputs, i)));
    if (code != CONV_2D && code != DEPTHWISE_CONV_2D && code != FULLY_CONNECTED)
        return CYCLES_PER_OPERATOR + results / RESULTS;
    uint32_t weights = table(tensors, element(inputs, 1));
    double macs = scalar(weights, TYPE, 1) == INT8 ? INT8_MACS : FLOAT_MACS;
    return CYCLES_PER_OPERATOR + results * macs_per_result(weights, code) / macs;
}

static void read_file(const char *path) {
    FILE *stream = fopen(path, "rb");
    if (!stream || fseek(stream, 0, SEEK_END)) refuse("Could not open the model");
    size = (uint32_t)ftell(stream);
    rewind(stream);
    file = malloc(size + 1);
    if (!file || fread(file, 1, size, stream) != size) refuse("Could not read the model");
    fclose(stream);
    if (size < 8 || memcmp(file + 4, "TFL3", 4))
        refuse("The model is not a valid Flatbuffer buffer");
}

Work model_work(const char *path) {
    read_file(path);
    uint32_t model = number(0, 4), codes = vector(model, OPERATOR_CODES);
    uint32_t graph = table(vector(model, SUBGRAPHS), 0);
    uint32_t tensors = vector(graph, TENSORS), operators = vector(graph, OPERATORS);
    Work work = {0};
    for (uint32_t i = 0; i < length(tensors); i++) {
        uint32_t type = scalar(table(tensors, i), TYPE, 1);
        work.mb += elements(table(tensors, i)) * (type < sizeof BYTES ? BYTES[type] : 1) / 1e6;
    }
    for (uint32_t i = 0; i < length(operators); i++)
        work.cycles += operator_cycles(table(operators, i), codes, tensors);
    return work;
}
