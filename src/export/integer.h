/*
 * A quantized network in integers alone: what hardware without a floating-point unit does, and a reference that runs
 * it. Made from a graph with its scales and a plan that says what runs in int8; the kernels that serve have no part in
 * it, as their requantisation is a float fma. docs/accelerator-export.md defines every kind of step.
 *
 * Tensors are bytes, of rank 4 NHWC, else in the order of their shape; what the last layers make may be int32.
 * Ownership: a model owns all but the graph, which must outlive it. Threads: read only once made.
 */
#ifndef QD_EXPORT_INTEGER_H
#define QD_EXPORT_INTEGER_H

#include <jansson.h>

#include "engine/plan.h"
#include "export/fixed.h"
#include "graph/graph.h"
#include "util/buf.h"

struct qd_integer_step {
    const struct qd_integer_kind *kind;
    const struct qd_node *node;
    int n_inputs;
    const int *inputs; /* values of the graph, the constant ones left out */
    int output;        /* a value; a node with several outputs is several steps */
    bool accumulators; /* the output is int32 and not bytes */
    void *data;        /* the kind's own */
};

/* What make gets. */
struct qd_integer_build {
    const struct qd_graph *graph;
    const struct qd_kernels *kernels;
    struct qd_arena *arena; /* the model's */
    int multiplier_bits;
};

/* A kind of step: a file, and a row of kinds[] in integer.c. */
struct qd_integer_kind {
    const char *name;
    bool (*takes)(const struct qd_graph *graph, const struct qd_node *node);
    /* Fills step->data; the rest is set. QD_UNSUPPORTED: no integers do it, and why. */
    enum qd_status (*make)(const struct qd_integer_build *build, struct qd_integer_step *step, struct qd_error *err);
    /* values: see qd_integer_model_run. */
    void (*run)(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values);
    /* Its fields into json, its larger arrays behind what bin holds. False: no memory. */
    bool (*describe)(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                     struct qd_buf *bin);
    /* Of accumulators: the real value of 1 in a channel. NULL: the kind makes none. */
    double (*scale)(const struct qd_integer_step *step, int c);
};

/* A node that is no step, with the reason. */
struct qd_integer_skipped {
    const struct qd_node *node;
    const char *why;
};

struct qd_integer_model {
    struct qd_arena arena;
    const struct qd_graph *graph;
    struct qd_integer_step *steps;
    int n_steps;
    struct qd_integer_skipped *skipped; /* behind the last steps: a Softmax, say */
    int n_skipped;
    int *outputs; /* values that steps make and none reads, or that are the graph's */
    int n_outputs;
    int multiplier_bits;
};

/*
 * The graph's int8 steps as plan has them. QD_UNSUPPORTED: a node that runs in float stands in front of one that does
 * not, or a step has no integer form; the text names it and says why.
 */
enum qd_status qd_integer_model_new(const struct qd_plan *plan, struct qd_integer_model **ret, struct qd_error *err);
void qd_integer_model_free(struct qd_integer_model *model);

/* Bytes of a step's output. */
size_t qd_integer_output_size(const struct qd_graph *graph, const struct qd_integer_step *step);

/*
 * Runs all steps on one picture. values is by value of the graph: [inputs[0]] is the picture, NHWC, and each step's
 * output has room.
 */
void qd_integer_model_run(const struct qd_integer_model *model, void *const *values);
/* One step alone. */
void qd_integer_step_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values);

/* The largest of a step's output in real values, as a class: an index in ONNX's order. */
int64_t qd_integer_class(const struct qd_graph *graph, const struct qd_integer_step *step, const void *output);

/*
 * model.json's content; bin gets what stands in weights.bin. NULL without memory.
 */
json_t *qd_integer_to_json(const struct qd_integer_model *model, struct qd_buf *bin);

#endif
