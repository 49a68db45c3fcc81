/* How good an int8 plan is: against fp32 on the same pictures, and against labels where there are any. */
#ifndef QD_QUANT_EVALUATE_H
#define QD_QUANT_EVALUATE_H

#include "quant/batch.h"
#include "quant/scales.h"

struct qd_evaluation_options {
    int n_threads;
    const struct qd_preprocess *preprocess;
    struct qd_image_limits limits;
    const struct qd_progress *progress;
};

/*
 * Runs both plans on the pictures. SQNR (mean over pictures, dB) and KL (mean, nats, fp32 against int8) are of output 0
 * in front of a trailing Softmax; KL takes the softmax of those. QD_INVALID: no picture can be decoded.
 */
enum qd_status qd_evaluate(const struct qd_plan *fp32, const struct qd_plan *int8,
                           const struct qd_image_file *const *files, size_t n_files,
                           const struct qd_evaluation_options *options, struct qd_accuracy *ret, struct qd_error *err);

/*
 * The int8 run against the fp32 run, tensor by tensor, over the first n pictures: fills cumulative_db of the scales, and
 * sqnr_db and clip_ratio by what the final levels make of the fp32 run's values. The graph has its scales applied.
 */
enum qd_status qd_measure_layers(const struct qd_graph *graph, const struct qd_kernels *kernels,
                                 const struct qd_image_file *const *files, size_t n,
                                 const struct qd_evaluation_options *options, struct qd_scales *scales,
                                 struct qd_error *err);

/* How many of one picture's floats of a tensor (ONNX order) lie beyond the levels of its scale, as for clip_ratio. */
uint64_t qd_clipped_count(const struct qd_value *value, const float *fp32);

/* The classes of the k (at most n) largest of n scores, best first; ties go to the lower class, NaN comes last. */
void qd_top_k(const float *scores, int64_t n, int k, int64_t *ret_classes);

#endif
