/* What a .tflite asks of a phone, counted from the file itself. */
#ifndef MNASFPN_MODEL_WORK_H
#define MNASFPN_MODEL_WORK_H

typedef struct {
    double cycles; /* of a big core, of one inference */
    double mb;     /* of all tensors at once, weights among them */
} Work;

/* Exits as benchmark_model does, with the runtime's words, when it is no model or has an operator
 * that the runtime does not know. */
Work model_work(const char *path);

#endif
