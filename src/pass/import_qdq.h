/* What the two halves of the pass import_qdq have in common. */
#ifndef QD_PASS_IMPORT_QDQ_H
#define QD_PASS_IMPORT_QDQ_H

#include "pass/internal.h"

/* By value: the scales of a constant that a DequantizeLinear made. */
struct qd_grid {
    const float *scale;
    int64_t n; /* 1: one for all; 0: the value is no such constant */
};

static inline bool qd_is_quantize(const struct qd_op *op)
{
    return op == &qd_op_quantize_linear || op == &qd_op_ms_quantize_linear;
}

static inline bool qd_is_dequantize(const struct qd_op *op)
{
    return op == &qd_op_dequantize_linear || op == &qd_op_ms_dequantize_linear;
}

/* Every DequantizeLinear of constants becomes a constant, and what then has constant inputs only. */
enum qd_status qd_import_constants(struct qd_graph *graph, struct qd_grid *grids, struct qd_error *err);

/* Layers with weights on a grid get them as integers: node->layer_weights. */
enum qd_status qd_import_layers(struct qd_graph *graph, const struct qd_grid *grids, struct qd_error *err);

#endif
