/*
 * Calibration: pictures through the fp32 network, a histogram per tensor, a scale per class of tensors that must share
 * one. The result depends on the pictures' contents alone, not on their order, the threads or the batches.
 */
#ifndef QD_QUANT_CALIBRATE_H
#define QD_QUANT_CALIBRATE_H

#include "quant/batch.h"
#include "quant/method.h"
#include "quant/scales.h"

struct qd_calibration_options {
    const struct qd_method *method;
    struct qd_calibration_form form;
    unsigned skipped_stages; /* bit i: stage i of the method's is left out (ladders, tests) */
    int n_threads;
    const struct qd_kernels *kernels;
    const struct qd_preprocess *preprocess;
    struct qd_image_limits limits;
    const struct qd_progress *progress; /* or NULL */
};

/*
 * graph: after passes; it is left with the scales applied, which the caller owns; files: in the order of their hashes.
 * QD_INVALID: no picture can be decoded (the text names the first failure), or a tensor holds NaN or infinity (the text
 * names it and the picture). QD_CANCELLED.
 */
enum qd_status qd_calibrate(struct qd_graph *graph, const struct qd_image_file *const *files, size_t n_files,
                            const struct qd_calibration_options *options, struct qd_scales **ret, struct qd_error *err);

#endif
