/*
 * The result of a calibration: scales of every tensor, what they cost, and how the model did. Plain data; owned by
 * whoever holds it, read only once made.
 */
#ifndef QD_QUANT_SCALES_H
#define QD_QUANT_SCALES_H

#include <jansson.h>

#include "graph/graph.h"

#define QD_REPORT_BINS 64

struct qd_value_scale {
    char *name;
    struct qd_qparams q;
    float min, max;       /* observed, 0 included */
    double clip_ratio;    /* share of values beyond the levels */
    double sqnr_db;       /* of rounding this tensor alone */
    double cumulative_db; /* of the int8 run against the fp32 run at this tensor; NAN where it was not measured */
    uint32_t histogram[QD_REPORT_BINS]; /* counts per mille of |x| over log2 bins from histogram_low up */
    float histogram_low;                /* log2 of the lowest bin's edge; bins are half an octave */
};

/* What the model does on pictures; shares in 0..1, NAN where labels lack. */
struct qd_accuracy {
    size_t n_images, n_skipped;
    double fp32_top1, fp32_top5, int8_top1, int8_top5;
    double agreement, sqnr_db, kl;
    char first_skipped[QD_ERROR_TEXT_SIZE]; /* which was the first of n_skipped, and why; not kept in JSON */
};

struct qd_scales {
    char method[32];
    int n_images, n_skipped; /* that calibrated; that could not be decoded */
    char first_skipped[QD_ERROR_TEXT_SIZE]; /* which was the first of those, and why; not kept in JSON */
    struct qd_value_scale *values;
    size_t n_values;
    struct qd_accuracy gate; /* on the held-out pictures */
    bool gate_passed;
    char gate_text[160];     /* why not, or empty */
};

void qd_scales_free(struct qd_scales *scales);

/* Sets the graph's qparams by name. QD_INVALID: a tensor of the graph is missing here, or the other way round. */
enum qd_status qd_scales_apply(const struct qd_scales *scales, struct qd_graph *graph, struct qd_error *err);

/* Deterministic: same scales, same JSON. NULL without memory. */
json_t *qd_scales_to_json(const struct qd_scales *scales);
enum qd_status qd_scales_from_json(const json_t *json, struct qd_scales **ret, struct qd_error *err);

/* {"images","fp32":{"top1","top5"},"int8":{...},"agreement","sqnr_db","kl"}; NAN becomes null. */
json_t *qd_accuracy_to_json(const struct qd_accuracy *accuracy);
/* A real, or null where it is not finite. */
json_t *qd_json_real(double value);

#endif
