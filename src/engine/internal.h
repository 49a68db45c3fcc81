/* What plan.c builds and exec.c runs; nobody else includes this. */
#ifndef QD_ENGINE_INTERNAL_H
#define QD_ENGINE_INTERNAL_H

#include "engine/plan.h"
#include "op/op.h"
#include "util/mem.h"

/* The two forms a value can have in a frame. */
enum qd_form { QD_FORM_Q8, QD_FORM_F32, QD_N_FORMS };

/* Where one form of a value lies in the slab. */
struct qd_place {
    bool used;
    size_t offset;
    size_t pitch; /* bytes from image to image */
    size_t size;  /* pitch * max_batch and slack */
    int first_step, last_step;
};

struct qd_step {
    enum qd_step_kind kind;
    int node;      /* index, or -1 for conversions */
    int value;     /* what a conversion converts; a node's first output */
    bool output_f32;
    void *prepared;
    const char *why_f32;
    size_t scratch_size; /* per thread */
};

struct qd_plan {
    struct qd_arena arena;
    const struct qd_graph *graph;
    struct qd_plan_options options;
    struct qd_step *steps;
    int n_steps;
    struct qd_place *places[QD_N_FORMS]; /* by value */
    size_t slab_size;
    size_t scratch_size; /* per thread */
    int max_views;       /* inputs and outputs of the widest node */
};

/* Gives each used place its offset; places whose steps overlap do not share memory. Returns the slab's size. */
enum qd_status qd_memory_plan(struct qd_place **places, int n_places, size_t *ret_size, struct qd_error *err);

#endif
