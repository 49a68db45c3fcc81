/*
 * What adlq does after the scales of tensors: channel steps, weights, biases, scales in their places. Each stage is
 * kept only where it lowers the network's error on both halves of the calibration images; the report says which did.
 */
#ifndef QD_QUANT_REFINE_H
#define QD_QUANT_REFINE_H

#include "quant/method.h"
#include "quant/network_error.h"
#include "quant/scales.h"

struct qd_refinement {
    struct qd_graph *graph; /* scales applied */
    const struct qd_statistics *statistics;
    struct qd_scales *scales; /* in and out; its layers are the statistics' */
    const struct qd_calibration_form *form;
    const struct qd_kernels *kernels;
    int n_threads;
    unsigned skipped_stages; /* bit i: stage i is left out */
    const struct qd_progress *progress;
    struct qd_network_error error; /* out: at the end */
};

/* Leaves the graph with the scales applied. QD_CANCELLED, QD_NO_MEMORY. */
enum qd_status qd_refine(struct qd_refinement *refinement, struct qd_error *err);

/* The stages' names in their order, NULL past the end: number i is bit i of skipped_stages. */
const char *qd_stage_name(int i);

/* The bits of the stages in a list, as "bias correction,global". QD_INVALID: one that there is not; the text names all.
 */
enum qd_status qd_stages_named(const char *list, unsigned *ret, struct qd_error *err);

#endif
