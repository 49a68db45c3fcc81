/*
 * Operators that are an activation of the graph's: as_activation fills a struct qd_activation, and the function is that
 * one's. Quantized it is one table of 256 bytes. (Other functions of one operand: elementwise.h.)
 */
#ifndef QD_OP_UNARY_H
#define QD_OP_UNARY_H

#include "op/ops.h"
#include "op/q8.h"

enum qd_status qd_unary_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
bool qd_unary_supports_q8(const struct qd_graph *graph, const struct qd_node *node);
void qd_unary_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                      const struct qd_f32_run *run);
enum qd_status qd_unary_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err);

#define QD_UNARY_ACTIVATION_FIELDS                                                                                     \
    .n_outputs = 1, .infer = qd_unary_infer, .run_f32 = qd_unary_run_f32, .as_activation = as_activation,              \
    .supports_q8 = qd_unary_supports_q8, .prepare_q8 = qd_unary_prepare_q8, .run_q8 = qd_q8_table_run,                 \
    .flags = QD_OP_STEPS | QD_OP_ANY_ORDER

/* as_activation of an operator without attributes. */
#define QD_UNARY_AS(act_kind)                                                                                          \
    static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)     \
    {                                                                                                                  \
        (void)graph;                                                                                                   \
        (void)node;                                                                                                    \
        *ret = (struct qd_activation){.kind = act_kind};                                                               \
        return true;                                                                                                   \
    }

#endif
