/* What QuantizeLinear and DequantizeLinear have in common; the pass import_qdq reads it. */
#ifndef QD_OP_QUANTIZE_LINEAR_H
#define QD_OP_QUANTIZE_LINEAR_H

#include "op/op.h"

/* Input 0's elements by scale and zero point: [before][n][after], one of each for each of n. */
struct qd_quantize_params {
    int64_t given_axis;
    int64_t output_dtype;     /* ONNX's number, 0: as the zero point */
    int64_t before, n, after; /* set by infer; n 1: one scale for all */
};

/* An element of any type as a number. */
double qd_quantize_element(const struct qd_view *view, int64_t i);

/*
 * The one scale and zero point of a QuantizeLinear or DequantizeLinear that has constants for them, as those of
 * unsigned bytes: an int8's zero point is moved by 128. False: others, or not of 8 bits.
 */
bool qd_quantize_qparams(const struct qd_graph *graph, const struct qd_node *node, struct qd_qparams *ret);

#endif
