/*
 * The result of a calibration: scales of every tensor, what they cost, and how the model did. Plain data; owned by
 * whoever holds it, read only once made.
 */
#ifndef QD_QUANT_SCALES_H
#define QD_QUANT_SCALES_H

#include <jansson.h>

#include "graph/graph.h"
#include "util/hash.h"

#define QD_REPORT_BINS 64

struct qd_value_scale {
    char *name;
    struct qd_qparams q;
    float *channel_steps; /* [n_channels], or NULL: all 1 */
    int n_channels;
    float min, max;       /* observed, 0 included */
    double clip_ratio;    /* share of values beyond the levels, on the pictures of qd_measure_layers */
    double sqnr_db;       /* of rounding this tensor alone, on the same */
    double cumulative_db; /* of the int8 run against the fp32 run at this tensor; NAN where it was not measured */
    uint32_t histogram[QD_REPORT_BINS]; /* values per million, by |x|, over log2 bins from histogram_low up */
    float histogram_low;                /* log2 of the lowest bin's edge; bins are half an octave */
};

/* A convolution or fully connected layer. */
struct qd_layer_scale {
    char *name; /* of its node */
    int n, k;   /* output channels, weights of each */
    int64_t macs;
    enum qd_precision precision;     /* F32: the fallback keeps it in float */
    struct qd_layer_weights weights; /* arrays NULL where plans round to nearest */
    double weights_db;               /* output SQNR with these weights and nothing else rounded; NAN: not measured */
    double sensitivity;              /* KL of the network's output, this layer alone in int8; NAN: not measured */
};

/* What became of a stage of the calibration: output SQNR on the two halves of the images before it and after it. */
#define QD_MAX_STAGES 16
struct qd_stage_report {
    char name[32];
    bool kept;
    double before_db[2], after_db[2];
    double agreement; /* with fp32 over all those images, as the stage left it */
    char text[96];    /* what it did, as "17 of 34 tensors" */
};

/* What the model does on pictures; shares in 0..1, NAN where labels lack. */
struct qd_accuracy {
    size_t n_images, n_skipped;
    double fp32_top1, fp32_top5, int8_top1, int8_top5;
    double agreement, sqnr_db, kl;
    char first_skipped[QD_ERROR_TEXT_SIZE]; /* which was the first of n_skipped, and why; not kept in JSON */
};

struct qd_scales {
    struct qd_arena arena;                  /* holds all that is pointed to */
    char method[32];                        /* that found them; QD_METHOD_GIVEN: they are the model's own */
    int multiplier_bits;                    /* of requantisation, 24: all of a float's */
    int n_images, n_skipped;                /* that calibrated; that could not be decoded */
    char first_skipped[QD_ERROR_TEXT_SIZE]; /* which was the first of those, and why; not kept in JSON */
    struct qd_value_scale *values;
    size_t n_values;
    struct qd_layer_scale *layers;
    size_t n_layers;
    struct qd_stage_report stages[QD_MAX_STAGES];
    int n_stages;
    struct qd_accuracy gate; /* on the held-out pictures */
    bool gate_passed;
    char gate_text[160]; /* why not, or empty */
    char known_answers[QD_HASH_HEX_SIZE]; /* see known_answers.h; empty: none were made */
};

/* Empty, with 24 multiplier bits; NULL without memory. */
struct qd_scales *qd_scales_new(void);
void qd_scales_free(struct qd_scales *scales);

/* Whether the node has a row among the layers: it has weights and an int8 form. */
bool qd_is_scaled_layer(const struct qd_graph *graph, const struct qd_node *node);

/* The graph's layers, in the nodes' order, without weights yet. */
enum qd_status qd_scales_list_layers(struct qd_scales *scales, const struct qd_graph *graph, int weight_bits,
                                     struct qd_error *err);

/*
 * Sets the graph's qparams, channel steps, layer weights and precisions by name; the scales must outlive the graph's
 * plans. A node that was F32 stays so. QD_INVALID: a tensor of the graph is missing here, or the
 * other way round; the graph is then as it was.
 */
enum qd_status qd_scales_apply(const struct qd_scales *scales, struct qd_graph *graph, struct qd_error *err);

/* Deterministic: same scales, same JSON. with_weights: all that is needed to come back. NULL without memory. */
json_t *qd_scales_to_json(const struct qd_scales *scales, bool with_weights);
/* The list of stages alone. */
json_t *qd_stages_to_json(const struct qd_scales *scales);
enum qd_status qd_scales_from_json(const json_t *json, struct qd_scales **ret, struct qd_error *err);

/* {"images","fp32":{"top1","top5"},"int8":{...},"agreement","sqnr_db","kl"}; NAN becomes null. */
json_t *qd_accuracy_to_json(const struct qd_accuracy *accuracy);
/* A real, or null where it is not finite. */
json_t *qd_json_real(double value);

#endif
