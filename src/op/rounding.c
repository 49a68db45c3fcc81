/* Signs, rounding to whole numbers, and what a float is. */
#include <math.h>

#include "op/elementwise.h"

QD_ROW_1(abs_f32, float, float, fabsf(x))
QD_INTEGER_ROWS_1(abs, x < 0 ? 0 - (uint64_t)x : (uint64_t)x)
static const struct qd_elementwise abs_functions = {.rows = {[QD_F32] = abs_f32, QD_INTEGER_ROWS_OF(abs)}};
QD_ELEMENTWISE_OP(qd_op_abs, "Abs", 7, 1, abs_functions, QD_ELEMENTWISE_FIELDS);

QD_ROW_1(neg_f32, float, float, -x)
QD_INTEGER_ROWS_1(neg, 0 - (uint64_t)x)
static const struct qd_elementwise neg_functions = {.rows = {[QD_F32] = neg_f32, QD_INTEGER_ROWS_OF(neg)}};
QD_ELEMENTWISE_OP(qd_op_neg, "Neg", 7, 1, neg_functions, QD_ELEMENTWISE_FIELDS);

/* Of NaN it is NaN. */
QD_ROW_1(sign_f32, float, float, x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x)
QD_INTEGER_ROWS_1(sign, (x > 0) - (x < 0))
static const struct qd_elementwise sign_functions = {.rows = {[QD_F32] = sign_f32, QD_INTEGER_ROWS_OF(sign)}};
QD_ELEMENTWISE_OP(qd_op_sign, "Sign", 9, 1, sign_functions, QD_ELEMENTWISE_FIELDS);

QD_ROW_1(ceil_f32, float, float, ceilf(x))
static const struct qd_elementwise ceil_functions = {.rows = {[QD_F32] = ceil_f32}};
QD_ELEMENTWISE_OP(qd_op_ceil, "Ceil", 7, 1, ceil_functions, QD_ELEMENTWISE_FIELDS);

QD_ROW_1(floor_f32, float, float, floorf(x))
static const struct qd_elementwise floor_functions = {.rows = {[QD_F32] = floor_f32}};
QD_ELEMENTWISE_OP(qd_op_floor, "Floor", 7, 1, floor_functions, QD_ELEMENTWISE_FIELDS);

/* Halves to the even number: nobody sets another rounding mode. */
QD_ROW_1(round_f32, float, float, rintf(x))
static const struct qd_elementwise round_functions = {.rows = {[QD_F32] = round_f32}};
QD_ELEMENTWISE_OP(qd_op_round, "Round", 11, 1, round_functions, QD_ELEMENTWISE_FIELDS);

QD_ROW_1(is_nan_f32, float, uint8_t, isnan(x) != 0)
static const struct qd_elementwise is_nan_functions = {.rows = {[QD_F32] = is_nan_f32}, .flags = QD_GIVES_BOOL};
QD_ELEMENTWISE_OP(qd_op_is_nan, "IsNaN", 9, 1, is_nan_functions, QD_ELEMENTWISE_F32_FIELDS);

struct is_inf_params {
    int64_t negative, positive;
};

static enum qd_status is_inf_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct is_inf_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "detect_negative", 1, &params->negative, err);
    return status == QD_OK ? qd_node_attr_int(node, "detect_positive", 1, &params->positive, err) : status;
}

static void is_inf_f32(const struct qd_row *row)
{
    const struct is_inf_params *params = row->params;
    const float *x = row->in[0];
    uint8_t *y = row->out;

    for (int64_t i = 0; i < row->n; i++)
        y[i] = isinf(x[i]) && (x[i] < 0 ? params->negative : params->positive);
}

static const struct qd_elementwise is_inf_functions = {.rows = {[QD_F32] = is_inf_f32}, .flags = QD_GIVES_BOOL};

const struct qd_op qd_op_is_inf = {
    .name = "IsInf",
    .min_opset = 10,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .functions = &is_inf_functions,
    .parse = is_inf_parse,
    .infer = qd_elementwise_infer,
    QD_ELEMENTWISE_F32_FIELDS,
};
