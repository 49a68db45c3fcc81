/*
 * Functions of two tensors, element by element, with numpy's broadcasting: Add, Sub, Mul, Div. The operator gives the
 * function; this gives shapes, the float and integer runs, and the quantized forms: tables where one operand is a
 * constant (a scalar or one per channel), the add and mul kernels where both are activations.
 */
#ifndef QD_OP_ELEMENTWISE_H
#define QD_OP_ELEMENTWISE_H

#include "op/ops.h"

/* node->params of these operators: set by each one's parse. */
struct qd_elementwise {
    float (*f32)(float a, float b);
    int64_t (*i64)(int64_t a, int64_t b);
};

enum qd_status qd_elementwise_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
void qd_elementwise_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                            void *scratch);

/* True where one operand is a constant scalar or one per channel: the function is then a table. */
bool qd_elementwise_is_table(const struct qd_graph *graph, const struct qd_node *node);
enum qd_status qd_elementwise_prepare_table(struct qd_q8_prepare *prepare, struct qd_error *err);

#endif
