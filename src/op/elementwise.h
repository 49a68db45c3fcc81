/*
 * Functions of two tensors, element by element, with numpy's broadcasting: Add, Sub, Mul, Div. The operator gives the
 * function; this gives shapes, the float and integer runs, and the quantized form where the second operand is a
 * constant, a scalar or one per channel: a line. Where both are activations the operators use their kernels.
 */
#ifndef QD_OP_ELEMENTWISE_H
#define QD_OP_ELEMENTWISE_H

#include "op/ops.h"

/* node->params of these operators: set by each one's parse. */
struct qd_elementwise {
    /* y[i] = f(a[i * a_stride], b[i * b_stride]), strides 0 or 1: QD_ELEMENTWISE_ROW. */
    void (*f32_row)(const float *a, int64_t a_stride, const float *b, int64_t b_stride, float *y, int64_t n);
    int64_t (*i64)(int64_t a, int64_t b);
    void (*line)(double b, double *ret_mult, double *ret_add); /* f(a, b) as a * mult + add */
};

/* f32_row of a C operator; loops apart, so that each becomes vectors. */
#define QD_ELEMENTWISE_ROW(operator)                                                                                   \
    static void f32_row(const float *a, int64_t a_stride, const float *b, int64_t b_stride, float *y, int64_t n)       \
    {                                                                                                                  \
        const float a0 = *a, b0 = *b;                                                                                  \
                                                                                                                       \
        if (a_stride && b_stride)                                                                                      \
            for (int64_t i = 0; i < n; i++)                                                                            \
                y[i] = a[i] operator b[i];                                                                             \
        else if (a_stride)                                                                                             \
            for (int64_t i = 0; i < n; i++)                                                                            \
                y[i] = a[i] operator b0;                                                                               \
        else if (b_stride)                                                                                             \
            for (int64_t i = 0; i < n; i++)                                                                            \
                y[i] = a0 operator b[i];                                                                               \
        else                                                                                                           \
            for (int64_t i = 0; i < n; i++)                                                                            \
                y[i] = a0 operator b0;                                                                                 \
    }

enum qd_status qd_elementwise_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
void qd_elementwise_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                            const struct qd_f32_run *run);

/* True where the second operand is a constant scalar or one per channel; then prepare, and run by qd_q8_lines_run. */
bool qd_elementwise_is_line(const struct qd_graph *graph, const struct qd_node *node);
enum qd_status qd_elementwise_prepare_line(struct qd_q8_prepare *prepare, struct qd_error *err);
/* fuses of an operator that can clamp what it gives. */
bool qd_elementwise_fuses(const struct qd_node *node, const struct qd_activation *act);

#endif
