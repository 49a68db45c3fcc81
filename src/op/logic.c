/* Comparisons, and the logic of bools and bits. */
#include <string.h>

#include "op/elementwise.h"

/* a OPERATOR b of numbers, to bool. Below, COMPARE_OP and LOGIC_OP are rows of the operators' table. */
#define COMPARE_ROWS(name, operator)                                                                                   \
    QD_ROW_2(name##_f32, float, uint8_t, a operator b)                                                                 \
    QD_ROW_2(name##_u8, uint8_t, uint8_t, a operator b)                                                                \
    QD_ROW_2(name##_s8, int8_t, uint8_t, a operator b)                                                                 \
    QD_ROW_2(name##_i32, int32_t, uint8_t, a operator b)                                                               \
    QD_ROW_2(name##_i64, int64_t, uint8_t, a operator b)

#define COMPARE_OP(name, onnx_name, first_opset, ...)                                                                  \
    static const struct qd_elementwise name##_functions = {                                                            \
        .rows = {[QD_F32] = name##_f32, QD_INTEGER_ROWS_OF(name), __VA_ARGS__},                                        \
        .flags = QD_GIVES_BOOL,                                                                                        \
    };                                                                                                                 \
    QD_ELEMENTWISE_OP(qd_op_##name, onnx_name, first_opset, 2, name##_functions, QD_ELEMENTWISE_F32_FIELDS)

COMPARE_ROWS(equal, ==)
COMPARE_OP(equal, "Equal", 7, [QD_BOOL] = equal_u8);
COMPARE_ROWS(greater, >)
COMPARE_OP(greater, "Greater", 7);
COMPARE_ROWS(greater_or_equal, >=)
COMPARE_OP(greater_or_equal, "GreaterOrEqual", 12);
COMPARE_ROWS(less, <)
COMPARE_OP(less, "Less", 7);
COMPARE_ROWS(less_or_equal, <=)
COMPARE_OP(less_or_equal, "LessOrEqual", 12);

#define LOGIC_OP(name, onnx_name, expression)                                                                          \
    QD_ROW_2(name##_bool, uint8_t, uint8_t, expression)                                                                \
    static const struct qd_elementwise name##_functions = {.rows = {[QD_BOOL] = name##_bool}};                         \
    QD_ELEMENTWISE_OP(qd_op_##name, onnx_name, 7, 2, name##_functions, QD_ELEMENTWISE_F32_FIELDS)

LOGIC_OP(and, "And", a &&b);
LOGIC_OP(or, "Or", a || b);
LOGIC_OP(xor, "Xor", !a != !b);

QD_ROW_1(not_bool, uint8_t, uint8_t, !x)
static const struct qd_elementwise not_functions = {.rows = {[QD_BOOL] = not_bool}};
QD_ELEMENTWISE_OP(qd_op_not, "Not", 7, 1, not_functions, QD_ELEMENTWISE_F32_FIELDS);

#define BIT_OP(name, onnx_name, first_opset, expression)                                                               \
    QD_INTEGER_ROWS_2(name, expression)                                                                                \
    static const struct qd_elementwise name##_functions = {.rows = {QD_INTEGER_ROWS_OF(name)}};                        \
    QD_ELEMENTWISE_OP(qd_op_##name, onnx_name, first_opset, 2, name##_functions, QD_ELEMENTWISE_F32_FIELDS)

BIT_OP(bitwise_and, "BitwiseAnd", 18, a &b);
BIT_OP(bitwise_or, "BitwiseOr", 18, a | b);
BIT_OP(bitwise_xor, "BitwiseXor", 18, a ^ b);

QD_INTEGER_ROWS_1(bitwise_not, ~x)
static const struct qd_elementwise bitwise_not_functions = {.rows = {QD_INTEGER_ROWS_OF(bitwise_not)}};
QD_ELEMENTWISE_OP(qd_op_bitwise_not, "BitwiseNot", 18, 1, bitwise_not_functions, QD_ELEMENTWISE_F32_FIELDS);

/* direction: node->params is there for LEFT. What is shifted out on the left is lost; more bits than 63 leave 0. */
static enum qd_status bit_shift_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const char *direction;
    enum qd_status status = qd_node_attr_string(node, "direction", "", &direction, err);

    (void)graph;
    if (status != QD_OK)
        return status;
    if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0)
        return qd_error_set(err, QD_INVALID, "direction: expected LEFT or RIGHT, found '%.40s'", direction);
    node->params = direction[0] == 'L' ? (void *)(uintptr_t)direction : NULL;
    return QD_OK;
}

#define BIT_SHIFT_ROW(name, type)                                                                                      \
    static void name(const struct qd_row *row)                                                                         \
    {                                                                                                                  \
        const type *a = row->in[0], *b = row->in[1];                                                                   \
        type *y = row->out;                                                                                            \
                                                                                                                       \
        for (int64_t i = 0; i < row->n; i++) {                                                                         \
            uint64_t x = (uint64_t)a[i * row->stride[0]], bits = (uint64_t)b[i * row->stride[1]];                      \
                                                                                                                       \
            y[i] = (type)(bits > 63 ? 0 : row->params ? x << bits : x >> bits);                                        \
        }                                                                                                              \
    }

BIT_SHIFT_ROW(bit_shift_u8, uint8_t)
BIT_SHIFT_ROW(bit_shift_i32, int32_t)
BIT_SHIFT_ROW(bit_shift_i64, int64_t)

/* ONNX shifts unsigned numbers only; the wider ones are of the next wider type here. */
static const struct qd_elementwise bit_shift_functions = {
    .rows = {[QD_U8] = bit_shift_u8, [QD_I32] = bit_shift_i32, [QD_I64] = bit_shift_i64},
};

const struct qd_op qd_op_bit_shift = {
    .name = "BitShift",
    .min_opset = 11,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .functions = &bit_shift_functions,
    .parse = bit_shift_parse,
    .infer = qd_elementwise_infer,
    QD_ELEMENTWISE_F32_FIELDS,
};
