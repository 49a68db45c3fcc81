/*
 * Functions of one, two or more tensors, element by element, with numpy's broadcasting: Add, Where, Exp, Clip, Equal...
 * The operator gives rows, one function per type of element; this gives shapes, types, the walk over all dimensions,
 * and the quantized forms that follow from the function: where all operands but one are constant, a table of 256 bytes
 * (scalars) or a line per channel. Other quantized forms are the operator's own.
 */
#ifndef QD_OP_ELEMENTWISE_H
#define QD_OP_ELEMENTWISE_H

#include "op/ops.h"
#include "op/q8.h"

#define QD_MAX_OPERANDS 3

/* On blocks of channels: operands of one shape, none constant, element by element as they lie. */
extern const struct qd_op_blocks qd_elementwise_blocks;

/* n elements: out[i] = f(in[0][i * stride[0]], in[1][i * stride[1]], ...), strides 0 or 1. */
struct qd_row {
    const void *in[QD_MAX_OPERANDS]; /* NULL: an optional operand that is absent */
    int64_t stride[QD_MAX_OPERANDS];
    enum qd_dtype dtype[QD_MAX_OPERANDS];
    void *out;
    int64_t n;
    const void *params; /* the node's */
};

typedef void qd_row_function(const struct qd_row *row);

enum qd_elementwise_flags {
    QD_GIVES_BOOL = 1,     /* the output is bool; else it is of the operands' type */
    QD_MIXES_TYPES = 2,    /* the operands behind the first may be of another type (Pow) */
    QD_ANY_NUMBER = 4,     /* f of two, taken from left to right over any number of operands */
    QD_KEEPS_SHAPE = 8,    /* the first operand is not broadcast: the output has its shape */
    QD_TAKES_SCALARS = 16, /* the operands behind the first have one element (Clip) */
};

/* qd_op.functions of this family. */
struct qd_elementwise {
    qd_row_function *rows[QD_N_DTYPE]; /* by the operands' type; NULL: not one that the operator takes */
    unsigned flags;
    int typed_by; /* the operand that says the type; those in front of it are bool (Where) */
    /* f(a, b) as a * mult + add. NULL: f is no line. */
    void (*line)(double b, double *ret_mult, double *ret_add);
    /* Behind the last of any number of operands. NULL: nothing. */
    void (*finish)(void *y, enum qd_dtype dtype, int64_t n, int n_operands);
};

/* A row function of one operand: the expression of x. */
#define QD_ROW_1(name, in_type, out_type, expression)                                                                  \
    static void name(const struct qd_row *row)                                                                         \
    {                                                                                                                  \
        const in_type *xs = row->in[0];                                                                                \
        out_type *ys = row->out;                                                                                       \
                                                                                                                       \
        for (int64_t i = 0; i < row->n; i++) {                                                                         \
            const in_type x = xs[i];                                                                                   \
                                                                                                                       \
            ys[i] = (out_type)(expression);                                                                            \
        }                                                                                                              \
    }

/* A row function of two operands of one type: the expression of a and b. Loops apart, so that each becomes vectors. */
#define QD_ROW_2(name, in_type, out_type, expression)                                                                  \
    static inline out_type name##_of(in_type a, in_type b)                                                             \
    {                                                                                                                  \
        return (out_type)(expression);                                                                                 \
    }                                                                                                                  \
    static void name(const struct qd_row *row)                                                                         \
    {                                                                                                                  \
        const in_type *as = row->in[0], *bs = row->in[1], a0 = *as, b0 = *bs;                                          \
        out_type *ys = row->out;                                                                                       \
        const int64_t n = row->n;                                                                                      \
                                                                                                                       \
        if (row->stride[0] && row->stride[1])                                                                          \
            for (int64_t i = 0; i < n; i++)                                                                            \
                ys[i] = name##_of(as[i], bs[i]);                                                                       \
        else if (row->stride[0])                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                                            \
                ys[i] = name##_of(as[i], b0);                                                                          \
        else if (row->stride[1])                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                                            \
                ys[i] = name##_of(a0, bs[i]);                                                                          \
        else                                                                                                           \
            for (int64_t i = 0; i < n; i++)                                                                            \
                ys[i] = name##_of(a0, b0);                                                                             \
    }

/* The row functions of all integers, whose values the expression has as int64; what does not fit is cut off. */
#define QD_INTEGER_ROWS_1(name, expression)                                                                            \
    static inline int64_t name##_i64_of(int64_t x)                                                                     \
    {                                                                                                                  \
        return (int64_t)(expression);                                                                                  \
    }                                                                                                                  \
    QD_ROW_1(name##_u8, uint8_t, uint8_t, name##_i64_of(x))                                                            \
    QD_ROW_1(name##_s8, int8_t, int8_t, name##_i64_of(x))                                                              \
    QD_ROW_1(name##_i32, int32_t, int32_t, name##_i64_of(x))                                                           \
    QD_ROW_1(name##_i64, int64_t, int64_t, name##_i64_of(x))

#define QD_INTEGER_ROWS_2(name, expression)                                                                            \
    static inline int64_t name##_any_of(int64_t a, int64_t b)                                                          \
    {                                                                                                                  \
        return (int64_t)(expression);                                                                                  \
    }                                                                                                                  \
    QD_ROW_2(name##_u8, uint8_t, uint8_t, name##_any_of(a, b))                                                         \
    QD_ROW_2(name##_s8, int8_t, int8_t, name##_any_of(a, b))                                                           \
    QD_ROW_2(name##_i32, int32_t, int32_t, name##_any_of(a, b))                                                        \
    QD_ROW_2(name##_i64, int64_t, int64_t, name##_any_of(a, b))

#define QD_INTEGER_ROWS_OF(name) [QD_U8] = name##_u8, [QD_S8] = name##_s8, [QD_I32] = name##_i32, [QD_I64] = name##_i64

enum qd_status qd_elementwise_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
/* The same for a function whose operands may change places: a constant first operand becomes the second, as the
 * quantized forms want it. */
enum qd_status qd_elementwise_infer_swapped(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
void qd_elementwise_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                            const struct qd_f32_run *run);

/* How many constants an operand is of that shape: 1 for all, one for each index of that dimension, or 0: neither. */
int64_t qd_elementwise_constants(const struct qd_value *constant, const struct qd_shape *out, int channel);
/* True where the function is a line and the second operand is a constant scalar or one per channel. */
bool qd_elementwise_is_line(const struct qd_graph *graph, const struct qd_node *node);
/* True where all operands but one are constant scalars or absent, and it is no line: a table of 256 bytes. */
bool qd_elementwise_is_table(const struct qd_graph *graph, const struct qd_node *node);

/* Either of both. */
bool qd_elementwise_supports_q8(const struct qd_graph *graph, const struct qd_node *node);
enum qd_status qd_elementwise_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err);
/* run_q8 of all of the family: calls what prepare_q8 chose. */
void qd_elementwise_run_q8(const struct qd_q8_run *run, int thread, int n_threads);
/* The last of an own prepare_q8: qd_elementwise_run_q8 is to call run with what prepare->prepared is now. */
enum qd_status qd_elementwise_prepared(struct qd_q8_prepare *prepare,
                                       void (*run)(const struct qd_q8_run *run, int thread, int n_threads),
                                       struct qd_error *err);
/* fuses of an operator that can clamp what it gives. */
bool qd_elementwise_fuses(const struct qd_node *node, const struct qd_activation *act);

/* The fields of an operator that has no int8 form, and of one whose forms follow from its function. */
#define QD_ELEMENTWISE_F32_FIELDS .n_outputs = 1, .run_f32 = qd_elementwise_run_f32
#define QD_ELEMENTWISE_FIELDS                                                                                          \
    QD_ELEMENTWISE_F32_FIELDS, .flags = QD_OP_STEPS | QD_OP_ANY_ORDER, .supports_q8 = qd_elementwise_supports_q8,      \
                               .prepare_q8 = qd_elementwise_prepare_q8, .run_q8 = qd_elementwise_run_q8

/* A row of the table with those fields, for operators of which there is no more to say. */
#define QD_ELEMENTWISE_OP(symbol, onnx_name, first_opset, n, table, fields)                                            \
    const struct qd_op symbol = {                                                                                      \
        .name = onnx_name,                                                                                             \
        .min_opset = first_opset,                                                                                      \
        .max_opset = 22,                                                                                               \
        .min_inputs = n,                                                                                               \
        .max_inputs = n,                                                                                               \
        .functions = &table,                                                                                           \
        .infer = qd_elementwise_infer,                                                                                 \
        fields,                                                                                                        \
    }

#endif
