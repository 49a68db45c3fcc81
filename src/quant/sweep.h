/*
 * The layer by layer sweep: the int8 network runs step by step over some images at once, and each layer is mended for
 * the inputs that the layers before it, already mended, really give it.
 */
#ifndef QD_QUANT_SWEEP_H
#define QD_QUANT_SWEEP_H

#include "quant/scales.h"
#include "quant/statistics.h"

struct qd_sweep {
    struct qd_graph *graph; /* scales applied to it; the sweep changes both */
    const struct qd_statistics *statistics;
    struct qd_scales *scales; /* its layers are the statistics' layers, their weights given */
    const struct qd_kernels *kernels;
    int n_threads;
    bool whole_octaves;                 /* scales may only be doubled or halved */
    const struct qd_progress *progress; /* or NULL */
    int n_changed;                      /* out: channels corrected, or scales changed */
    int n_tried;                        /* out */
};

/*
 * Bias correction (Nagel et al. 2019), empirical and sequential: adds to each bias what the layer's outputs lack
 * against fp32 in the mean, weighed by the activation's slope (what is clipped away counts for nothing), where both
 * halves of the images ask for it and each gains.
 */
enum qd_status qd_sweep_biases(struct qd_sweep *sweep, struct qd_error *err);

/*
 * For each layer's output the best step of nine around the present one, 2^(j/8): least squared error against fp32, each
 * channel's relative to its variance, on both halves.
 */
enum qd_status qd_sweep_scales(struct qd_sweep *sweep, struct qd_error *err);

#endif
