/* How far an int8 network departs from fp32 on the images that the statistics kept: what stages are judged by. */
#ifndef QD_QUANT_NETWORK_ERROR_H
#define QD_QUANT_NETWORK_ERROR_H

#include "quant/statistics.h"

/* Means over the even and over the odd images: of output SQNR (dB), KL and agreement as qd_evaluate has them. */
struct qd_network_error {
    double db[2], kl[2], agreement[2]; /* NAN where a half has no image */
    bool has_classes; /* the first output is one row: its softmax is worth looking at, boxes and maps have none */
    int n_refused;    /* nodes that run in float because of their scales: no gain, whatever the error says */
};

/*
 * Runs the graph, whose scales are applied, in int8 over the first n_images kept images. Outputs are compared in front
 * of a trailing Softmax; db is the mean over the float ones, KL and agreement are of the first of them.
 */
enum qd_status qd_network_error_measure(const struct qd_graph *graph, const struct qd_statistics *statistics,
                                        int n_images, const struct qd_kernels *kernels, int n_threads,
                                        struct qd_network_error *ret, struct qd_error *err);

/*
 * Whether a is better than b on every half that has images: the outputs nearer, no more nodes refused, and the classes'
 * softmax no further, or one that is seldom the best would be clipped for the mean.
 */
bool qd_network_error_is_better(const struct qd_network_error *a, const struct qd_network_error *b);

/* One image's output of n values: dB of the error (100 where there is none), KL of the softmaxes, the same top-1. */
struct qd_comparison {
    double db, kl;
    bool agrees;
};
void qd_compare_outputs(const float *fp32, const float *int8, int64_t n, struct qd_comparison *ret);

#endif
