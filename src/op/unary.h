/*
 * Elementwise functions of one input: the operator gives f(x), this gives all the rest. Quantized, a function is one
 * table of 256 bytes.
 */
#ifndef QD_OP_UNARY_H
#define QD_OP_UNARY_H

#include "op/ops.h"
#include "op/q8.h"

enum qd_status qd_unary_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
bool qd_unary_supports_q8(const struct qd_graph *graph, const struct qd_node *node);

/* The rows of a struct qd_op for the function `f` (float (*)(const void *params, float x)). */
#define QD_UNARY_RUNS(f)                                                                                               \
    static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,               \
                        const struct qd_f32_run *run)                                                                  \
    {                                                                                                                  \
        const float *x = in[0].data;                                                                                   \
        float *y = out[0].data;                                                                                        \
        int64_t count = qd_shape_count(in[0].shape);                                                                   \
                                                                                                                       \
        (void)run;                                                                                                     \
        for (int64_t i = 0; i < count; i++)                                                                            \
            y[i] = f(node->params, x[i]);                                                                              \
    }                                                                                                                  \
    static float table_value(const void *context, float x)                                                             \
    {                                                                                                                  \
        return f(context, x);                                                                                          \
    }                                                                                                                  \
    static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)                              \
    {                                                                                                                  \
        return qd_q8_table_prepare(prepare, table_value, prepare->node->params, err);                                  \
    }

#define QD_UNARY_FIELDS                                                                                                \
    .n_outputs = 1, .infer = qd_unary_infer, .run_f32 = run_f32, .supports_q8 = qd_unary_supports_q8,                  \
    .flags = QD_OP_STEPS, .prepare_q8 = prepare_q8, .run_q8 = qd_q8_table_run

/*
 * The same for an operator that is an activation of the graph's: as_activation fills a struct qd_activation, and the
 * function is that one's.
 */
void qd_unary_activation_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                                 const struct qd_f32_run *run);
enum qd_status qd_unary_activation_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err);

#define QD_UNARY_ACTIVATION_FIELDS                                                                                     \
    .n_outputs = 1, .infer = qd_unary_infer, .run_f32 = qd_unary_activation_run_f32, .as_activation = as_activation,   \
    .supports_q8 = qd_unary_supports_q8, .prepare_q8 = qd_unary_activation_prepare_q8, .run_q8 = qd_q8_table_run, .flags = QD_OP_STEPS

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
