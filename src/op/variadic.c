/* Of any number of operands: Max, Min, Sum, Mean. */
#include <math.h>

#include "op/elementwise.h"

/* NaN, where there is one, stays. */
QD_ROW_2(max_f32, float, float, a > b || a != a ? a : b)
QD_INTEGER_ROWS_2(max, a > b ? a : b)
QD_ROW_2(min_f32, float, float, a < b || a != a ? a : b)
QD_INTEGER_ROWS_2(min, a < b ? a : b)
QD_ROW_2(sum_f32, float, float, a + b)

/* With one constant scalar, either is a clip. */
static bool as_clip(const struct qd_graph *graph, const struct qd_node *node, bool is_max, struct qd_activation *ret)
{
    const struct qd_value *bound = node->n_inputs == 2 ? qd_node_input(graph, node, 1) : NULL;
    float value;

    if (!bound || !bound->data || bound->dtype != QD_F32 || qd_shape_count(&bound->shape) != 1 ||
        graph->values[node->inputs[0]].data ||
        !qd_shape_equal(&graph->values[node->inputs[0]].shape, &graph->values[node->outputs[0]].shape))
        return false;
    value = *(const float *)bound->data;
    *ret = (struct qd_activation){
        .kind = QD_ACT_CLIP, .min = is_max ? value : -INFINITY, .max = is_max ? INFINITY : value};
    return !isnan(value);
}

static bool max_as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    return as_clip(graph, node, true, ret);
}

static bool min_as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    return as_clip(graph, node, false, ret);
}

/* The constant second, where there are two. */
static enum qd_status extremum_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    return node->n_inputs == 2 ? qd_elementwise_infer_swapped(graph, node, err)
                               : qd_elementwise_infer(graph, node, err);
}

static void mean_finish(void *y, enum qd_dtype dtype, int64_t n, int n_operands)
{
    float *values = y;

    (void)dtype;
    for (int64_t i = 0; i < n; i++)
        values[i] /= (float)n_operands;
}

#define VARIADIC(fields) .max_opset = 22, .min_inputs = 1, .max_inputs = -1, .functions = &fields, QD_ELEMENTWISE_FIELDS

static const struct qd_elementwise max_functions = {
    .rows = {[QD_F32] = max_f32, QD_INTEGER_ROWS_OF(max)},
    .flags = QD_ANY_NUMBER,
};

const struct qd_op qd_op_max = {
    .name = "Max",
    .limits = "int8: one activation and constants of one element",
    .min_opset = 7,
    .infer = extremum_infer,
    .as_activation = max_as_activation,
    VARIADIC(max_functions),
};

static const struct qd_elementwise min_functions = {
    .rows = {[QD_F32] = min_f32, QD_INTEGER_ROWS_OF(min)},
    .flags = QD_ANY_NUMBER,
};

const struct qd_op qd_op_min = {
    .name = "Min",
    .limits = "int8: one activation and constants of one element",
    .min_opset = 7,
    .infer = extremum_infer,
    .as_activation = min_as_activation,
    VARIADIC(min_functions),
};

static const struct qd_elementwise sum_functions = {.rows = {[QD_F32] = sum_f32}, .flags = QD_ANY_NUMBER};

const struct qd_op qd_op_sum = {
    .name = "Sum",
    .limits = "int8: one activation and constants of one element",
    .min_opset = 7,
    .infer = qd_elementwise_infer,
    VARIADIC(sum_functions),
};

static const struct qd_elementwise mean_functions = {
    .rows = {[QD_F32] = sum_f32},
    .flags = QD_ANY_NUMBER,
    .finish = mean_finish,
};

const struct qd_op qd_op_mean = {
    .name = "Mean",
    .limits = "int8: one activation and constants of one element",
    .min_opset = 7,
    .infer = qd_elementwise_infer,
    VARIADIC(mean_functions),
};
