/*
 * Reductions: one number of all elements along some axes. The operator gives the number (struct qd_reduction); this
 * gives attributes, shapes and the walk. Floats are accumulated in double, integers in int64: long rows of large values
 * keep their low bits, and the order does not show.
 */
#ifndef QD_OP_REDUCE_H
#define QD_OP_REDUCE_H

#include "op/ops.h"

/* node->params of this family. */
struct qd_reduce_params {
    bool reduce[QD_MAX_DIMS]; /* set by infer */
    int64_t keepdims, noop;
    const int64_t *axes;
    int n_axes;
};

/* qd_op.functions of this family. row takes n elements into one accumulator, column one into each of n. */
struct qd_reduction {
    double identity;
    double (*row)(double acc, const float *x, int64_t n);
    void (*column)(double *acc, const float *x, int64_t n);
    double (*finish)(double acc, int64_t count); /* count: of the elements. NULL: the number is acc */
    /* The same of integers. row_i64 NULL: floats only. */
    int64_t identity_i64;
    int64_t (*row_i64)(int64_t acc, const int64_t *x, int64_t n);
    void (*column_i64)(int64_t *acc, const int64_t *x, int64_t n);
    int64_t (*finish_i64)(int64_t acc, int64_t count);
    bool takes_bytes; /* uint8, int8 and bool too, not only int32 and int64 */
};

/*
 * row and column of a number: the expressions of x (an element, acc_type) and of a and b (two accumulators). Eight
 * accumulators that take every eighth element: vectors of a fixed size on every CPU.
 */
#define QD_REDUCTION_ROWS(name, acc_type, in_type, identity, of_x, of_a_b)                                             \
    static inline acc_type name##_map(acc_type x)                                                                      \
    {                                                                                                                  \
        return (acc_type)(of_x);                                                                                       \
    }                                                                                                                  \
    static inline acc_type name##_join(acc_type a, acc_type b)                                                         \
    {                                                                                                                  \
        return (acc_type)(of_a_b);                                                                                     \
    }                                                                                                                  \
    static acc_type name##_row(acc_type acc, const in_type *x, int64_t n)                                              \
    {                                                                                                                  \
        acc_type parts[8];                                                                                             \
        int64_t i = 0;                                                                                                 \
                                                                                                                       \
        for (int j = 0; j < 8; j++)                                                                                    \
            parts[j] = identity;                                                                                       \
        for (; i + 8 <= n; i += 8)                                                                                     \
            for (int j = 0; j < 8; j++)                                                                                \
                parts[j] = name##_join(parts[j], name##_map((acc_type)x[i + j]));                                      \
        for (; i < n; i++)                                                                                             \
            parts[i % 8] = name##_join(parts[i % 8], name##_map((acc_type)x[i]));                                      \
        for (int half = 4; half; half /= 2)                                                                            \
            for (int j = 0; j < half; j++)                                                                             \
                parts[j] = name##_join(parts[j], parts[j + half]);                                                     \
        return name##_join(acc, parts[0]);                                                                             \
    }                                                                                                                  \
    static void name##_column(acc_type *acc, const in_type *x, int64_t n)                                              \
    {                                                                                                                  \
        for (int64_t i = 0; i < n; i++)                                                                                \
            acc[i] = name##_join(acc[i], name##_map((acc_type)x[i]));                                                  \
    }

enum qd_status qd_reduce_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
enum qd_status qd_reduce_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
size_t qd_reduce_scratch_f32(const struct qd_graph *graph, const struct qd_node *node);
void qd_reduce_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run);

/* The axes are an attribute, or since opset 13 (ReduceSum) or 18 an input. */
#define QD_REDUCE_FIELDS                                                                                               \
    .min_opset = 7, .max_opset = 22, .min_inputs = 1, .max_inputs = 2, .n_outputs = 1, .parse = qd_reduce_parse,       \
    .infer = qd_reduce_infer, .scratch_f32 = qd_reduce_scratch_f32, .run_f32 = qd_reduce_run_f32

#endif
