/* Rectified linear units and their kin: Relu, LeakyRelu, PRelu's scalar relatives, with at most two numbers. */
#include <math.h>

#include "op/elementwise.h"

struct unit_params {
    float alpha, second; /* gamma, lambd, bias */
};

static enum qd_status parse_units(struct qd_graph *graph, struct qd_node *node, const char *const names[2], float alpha,
                                  float second, struct qd_error *err)
{
    struct unit_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    params->second = second;
    status = qd_node_attr_float(node, names[0], alpha, &params->alpha, err);
    return status == QD_OK && names[1] ? qd_node_attr_float(node, names[1], second, &params->second, err) : status;
}

/* A unit: its numbers' names and defaults, and its expression of x, alpha and second. */
#define UNIT_ROW(name, expression)                                                                                     \
    static void name##_f32(const struct qd_row *row)                                                                   \
    {                                                                                                                  \
        const float alpha = ((const struct unit_params *)row->params)->alpha;                                          \
        const float second = ((const struct unit_params *)row->params)->second;                                        \
        const float *xs = row->in[0];                                                                                  \
        float *ys = row->out;                                                                                          \
                                                                                                                       \
        (void)second;                                                                                                  \
        for (int64_t i = 0; i < row->n; i++) {                                                                         \
            const float x = xs[i];                                                                                     \
                                                                                                                       \
            ys[i] = expression;                                                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    static const struct qd_elementwise name##_functions = {.rows = {[QD_F32] = name##_f32}};

#define UNIT_PARSE(name, first_name, first, second_name, second)                                                       \
    static enum qd_status name##_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)             \
    {                                                                                                                  \
        static const char *const names[] = {first_name, second_name};                                                  \
                                                                                                                       \
        return parse_units(graph, node, names, first, second, err);                                                    \
    }

#define UNIT_FIELDS(unit)                                                                                              \
    .max_opset = 22, .min_inputs = 1, .max_inputs = 1, .functions = &unit##_functions, .parse = unit##_parse,          \
    .infer = qd_elementwise_infer, QD_ELEMENTWISE_FIELDS

#define UNIT(unit, onnx_name, first_opset, first_name, first, second_name, second_value, expression)                   \
    UNIT_PARSE(unit, first_name, first, second_name, second_value)                                                     \
    UNIT_ROW(unit, expression)                                                                                         \
    const struct qd_op qd_op_##unit = {.name = onnx_name, .min_opset = first_opset, UNIT_FIELDS(unit)}

UNIT(celu, "Celu", 12, "alpha", 1, NULL, 0, x > 0 ? x : alpha * expm1f(x / alpha));
UNIT(elu, "Elu", 7, "alpha", 1, NULL, 0, x < 0 ? alpha * expm1f(x) : x);
UNIT(selu, "Selu", 7, "alpha", 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f,
     second *(x > 0 ? x : alpha * expm1f(x)));
UNIT(shrink, "Shrink", 9, "lambd", 0.5f, "bias", 0, x<-alpha ? x + second : x> alpha ? x - second : 0);
UNIT(thresholded_relu, "ThresholdedRelu", 10, "alpha", 1, NULL, 0, x > alpha ? x : 0);

UNIT_PARSE(leaky, "alpha", 0.01f, NULL, 0)
/* A sum of both sides, one of which is 0: the compiler may not multiply what it would throw away, so no vectors else.
 */
UNIT_ROW(leaky, (x > 0 ? x : 0) + alpha * (x > 0 ? 0 : x))

static bool leaky_as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    float alpha = ((const struct unit_params *)node->params)->alpha;

    (void)graph;
    *ret = (struct qd_activation){.kind = QD_ACT_LEAKY, .alpha = alpha};
    return alpha >= 0 && alpha <= 1;
}

const struct qd_op qd_op_leaky_relu = {
    .name = "LeakyRelu",
    .min_opset = 7,
    .as_activation = leaky_as_activation,
    UNIT_FIELDS(leaky),
};

QD_ROW_1(relu_f32, float, float, x < 0 ? 0 : x)
QD_INTEGER_ROWS_1(relu, x < 0 ? 0 : x)

static bool relu_as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    *ret = (struct qd_activation){.kind = QD_ACT_CLIP, .min = 0, .max = INFINITY};
    return graph->values[node->outputs[0]].dtype == QD_F32;
}

static const struct qd_elementwise relu_functions = {.rows = {[QD_F32] = relu_f32, QD_INTEGER_ROWS_OF(relu)}};

const struct qd_op qd_op_relu = {
    .name = "Relu",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .functions = &relu_functions,
    .infer = qd_elementwise_infer,
    .as_activation = relu_as_activation,
    QD_ELEMENTWISE_FIELDS,
};
