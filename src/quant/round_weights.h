/* adlq's weights: rounded to the least error of the layer's output, not of the weights. */
#ifndef QD_QUANT_ROUND_WEIGHTS_H
#define QD_QUANT_ROUND_WEIGHTS_H

#include "quant/statistics.h"

/* What the weights of one layer are rounded for, and where they go. */
struct qd_rounding {
    const struct qd_layer_statistics *layer;
    const float *input_steps; /* of the input's channels, [c], or NULL */
    double input_scale;       /* D of the input */
    bool exact_input;         /* it is the pixels, which are not rounded */
    int bits;
    /* What requantisation multiplies with is input_scale * scale[o] / output_units[o]: it gets so many bits. */
    int multiplier_bits;
    const double *output_units; /* [n], or NULL: the output is float */
    bool power_of_two;          /* that multiplier is a power of two; without output_units the scale is */
    bool nearest;               /* only round to nearest, over the largest weight where the form allows that scale */
    int8_t *q;                  /* out: [n][k] */
    float *scale;               /* out: [n], for weights times the input's channel steps */
    double sqnr_db; /* out: of the layer's output over the sampled rows, nothing else rounded; NAN without moments */
};

/*
 * Minimises (w - q * scale)^T H (w - q * scale) per output channel, H = E[x x^T] of the rows that the layer reads, over
 * scales (clip ratios 1 to 0.6, and lattices that the weights may lie on already) and q: grouped and depthwise layers
 * by pair descent, dense ones in the order of OBQ; where H is its diagonal alone, by the scale. QD_NO_MEMORY.
 */
enum qd_status qd_round_weights(struct qd_rounding *rounding, struct qd_error *err);

#endif
