/*
 * The layer report: what the int8 plan runs, step by step, joined with what the calibration found out about it. What
 * `quantd calibrate` prints and plots and /models/NAME/layers answers. It points into a calibration's result, which
 * must outlive it; read only once made.
 */
#ifndef QD_QUANT_REPORT_H
#define QD_QUANT_REPORT_H

#include "quant/pipeline.h"

struct qd_report_layer {
    struct qd_step_info step;
    const struct qd_value_scale *tensor;  /* of the first value it makes; NULL for what only changes a form */
    const struct qd_layer_scale *weights; /* NULL: no convolution or fully connected layer */
    float least_step, largest_step;       /* of the tensor's channels; both 1: one step for all */
    int rank;                             /* by sensitivity, 1 for the most sensitive; 0: not measured */
    double us;                            /* per image, alone in a batch; NAN: not measured */
};

struct qd_report {
    const char *model, *profile;
    const struct qd_pipeline_result *result;
    struct qd_report_layer *layers; /* as the plan's steps */
    int n_layers;
    int *by_sensitivity; /* layers that have one, the most sensitive first */
    int n_by_sensitivity;
    int *by_error; /* layers in int8 whose cumulative SQNR is known, the lowest first */
    int n_by_error;
    int64_t peak_bytes; /* of resident memory, as qd_peak_bytes; -1: not known */
    struct qd_arena arena;
};

enum qd_status qd_report_make(const struct qd_pipeline_result *result, const char *model, const char *profile,
                              struct qd_report *ret, struct qd_error *err);
void qd_report_done(struct qd_report *report);

/* Runs the int8 plan some times, a tenth of a second or so, and fills us. */
enum qd_status qd_report_measure_times(struct qd_report *report, int n_threads, struct qd_error *err);

/* Real values of the lowest and the highest level, in the channel of the largest step. */
double qd_lowest_level(const struct qd_value_scale *tensor);
double qd_highest_level(const struct qd_value_scale *tensor);

/*
 * The scales' JSON (qd_scales_to_json without weights), and: "model", "profile", "seconds", "from_cache", "peak_mib",
 * "layers", and the names "most_sensitive" and "worst", from the first on. NULL without memory.
 */
json_t *qd_report_to_json(const struct qd_report *report);

/*
 * The report as one HTML page that needs nothing else: no network, no other file. It is appended to the buffer, which
 * has been initialised.
 */
enum qd_status qd_report_to_html(const struct qd_report *report, struct qd_buf *buf, struct qd_error *err);

#endif
