/*
 * The operators on quantized tensors, ONNX's and ONNX Runtime's: each is the operator on floats between
 * DequantizeLinear and QuantizeLinear, and becomes that when a model is loaded. import_qdq then takes the integers up
 * where the scales are constant; elsewhere this is the definition.
 */
#include <stdio.h>
#include <string.h>

#include "op/ops.h"

#define MAX_OPERANDS 3
#define NAME_SIZE 256
#define NO_INPUT (-1)

/* A quantized operand: indices of the node's inputs. */
struct operand {
    int value, scale, zero; /* scale NO_INPUT: 1; zero NO_INPUT: 0 */
    int axis;               /* of several scales */
};

struct form {
    const struct qd_op *core;
    struct operand operands[MAX_OPERANDS];
    int n_operands;
    int out_scale, out_zero; /* NO_INPUT: the output is no QuantizeLinear's */
    int bias;                /* int32, by the product of the scales of operands 0 and 1; NO_INPUT: none */
};

static int input_of(const struct qd_node *node, int i)
{
    return i >= 0 && i < node->n_inputs ? node->inputs[i] : QD_NO_VALUE;
}

/* A new value called after what and the node. */
static enum qd_status new_value(struct qd_graph *graph, int n, const char *what, int *ret, struct qd_error *err)
{
    char base[NAME_SIZE], name[NAME_SIZE + 16];

    snprintf(base, sizeof(base), "%.200s.%s", graph->nodes[n].name, what);
    return qd_graph_add_value(graph, qd_graph_new_name(graph, base, name, sizeof(name)), ret, err);
}

static enum qd_status new_scalar(struct qd_graph *graph, int n, float value, int *ret, struct qd_error *err)
{
    const struct qd_shape scalar = {0};
    char base[NAME_SIZE], name[NAME_SIZE + 16];

    snprintf(base, sizeof(base), "%.200s.scale", graph->nodes[n].name);
    return qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_F32, &scalar, &value,
                                 ret, NULL, err);
}

/* A node of opset n's beside it, whose attribute, where it has one, is an int. */
static enum qd_status add_node(struct qd_graph *graph, int n, const struct qd_op *op, const int *inputs, int n_inputs,
                               int output, const char *attribute, int64_t value, struct qd_error *err)
{
    struct qd_attr *attr = qd_arena_alloc(&graph->arena, sizeof(*attr));
    char name[NAME_SIZE];
    struct qd_node *node;
    enum qd_status status;

    if (!attr)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a node");
    snprintf(name, sizeof(name), "%.200s.%s", graph->nodes[n].name, op->name);
    status = qd_graph_add_node(graph, name, op->name, op, inputs, n_inputs, &output, 1, &node, err);
    if (status != QD_OK)
        return status;
    node->opset = graph->nodes[n].opset;
    *attr = (struct qd_attr){.name = attribute, .kind = QD_ATTR_INT, .i = value};
    if (attribute) {
        node->attrs = attr;
        node->n_attrs = 1;
    }
    return QD_OK;
}

static enum qd_status dequantize(struct qd_graph *graph, int n, int value, int scale, int zero, int axis, int *ret,
                                 struct qd_error *err)
{
    const int inputs[] = {value, scale, zero};
    enum qd_status status = new_value(graph, n, "real", ret, err);

    if (status != QD_OK)
        return status;
    return add_node(graph, n, &qd_op_dequantize_linear, inputs, zero == QD_NO_VALUE ? 2 : 3, *ret, "axis", axis, err);
}

static enum qd_status dequantize_operand(struct qd_graph *graph, int n, const struct operand *operand, int *ret,
                                         struct qd_error *err)
{
    const struct qd_node *node = &graph->nodes[n];
    int value = input_of(node, operand->value), zero = input_of(node, operand->zero);
    int scale = input_of(node, operand->scale);
    enum qd_status status = QD_OK;

    if (value < 0 || (operand->scale != NO_INPUT && scale < 0))
        return qd_error_set(err, QD_INVALID, "input %d is missing", value < 0 ? operand->value : operand->scale);
    if (operand->scale == NO_INPUT)
        status = new_scalar(graph, n, 1, &scale, err);
    return status == QD_OK ? dequantize(graph, n, value, scale, zero, operand->axis, ret, err) : status;
}

/* Node n keeps its output, as floats; who read it reads what QuantizeLinear makes of that. */
static enum qd_status quantize_output(struct qd_graph *graph, int n, int scale, int zero, struct qd_error *err)
{
    int output = graph->nodes[n].outputs[0], bytes;
    const int inputs[] = {output, scale, zero};
    enum qd_status status = new_value(graph, n, "bytes", &bytes, err);

    if (status != QD_OK)
        return status;
    qd_graph_replace_uses(graph, output, bytes);
    return add_node(graph, n, &qd_op_quantize_linear, inputs, zero == QD_NO_VALUE ? 2 : 3, bytes, NULL, 0, err);
}

static enum qd_status dequantize_bias(struct qd_graph *graph, int n, const struct form *form, int *ret,
                                      struct qd_error *err)
{
    const struct qd_node *node = &graph->nodes[n];
    int bias = input_of(node, form->bias), scale;
    const int scales[] = {input_of(node, form->operands[0].scale), input_of(node, form->operands[1].scale)};
    enum qd_status status = new_value(graph, n, "bias_scale", &scale, err);

    if (status == QD_OK)
        status = add_node(graph, n, &qd_op_mul, scales, 2, scale, NULL, 0, err);
    /* The last axis: a Gemm's C may be [1,n]. */
    return status == QD_OK ? dequantize(graph, n, bias, scale, QD_NO_VALUE, -1, ret, err) : status;
}

/* Node n becomes the core of these inputs; attributes stay. */
static enum qd_status become(struct qd_graph *graph, int n, const struct qd_op *core, const int *inputs, int n_inputs,
                             struct qd_error *err)
{
    struct qd_node *node = &graph->nodes[n];
    int *own = qd_arena_array(&graph->arena, (size_t)n_inputs + 1, sizeof(*own));

    if (!own)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a node");
    memcpy(own, inputs, (size_t)n_inputs * sizeof(*own));
    node->inputs = own;
    node->n_inputs = n_inputs;
    node->op = core;
    node->op_name = core->name;
    return QD_OK;
}

static enum qd_status expand(struct qd_graph *graph, int n, const struct form *form, struct qd_error *err)
{
    int inputs[MAX_OPERANDS + 1], n_inputs = 0;
    int out_scale = input_of(&graph->nodes[n], form->out_scale), out_zero = input_of(&graph->nodes[n], form->out_zero);
    int64_t channels_last;
    enum qd_status status = qd_node_attr_int(&graph->nodes[n], "channels_last", 0, &channels_last, err);

    if (status == QD_OK && channels_last)
        return qd_error_set(err, QD_UNSUPPORTED, "channels_last is not supported");
    for (int i = 0; i < form->n_operands && status == QD_OK; i++)
        status = dequantize_operand(graph, n, &form->operands[i], &inputs[n_inputs++], err);
    if (status == QD_OK && input_of(&graph->nodes[n], form->bias) != QD_NO_VALUE)
        status = dequantize_bias(graph, n, form, &inputs[n_inputs++], err);
    if (status == QD_OK)
        status = become(graph, n, form->core, inputs, n_inputs, err);
    if (status == QD_OK && out_scale != QD_NO_VALUE)
        status = quantize_output(graph, n, out_scale, out_zero, err);
    return status;
}

/* An operator whose inputs are x, scale, zero (once or twice), and the output's. */
#define QLINEAR(id, onnx, where, last, core_op, n_of, ...)                                                             \
    static enum qd_status id##_expand(struct qd_graph *graph, int n, struct qd_error *err)                             \
    {                                                                                                                  \
        static const struct form form = {.core = &(core_op), .n_operands = (n_of), __VA_ARGS__};                       \
                                                                                                                       \
        return expand(graph, n, &form, err);                                                                           \
    }                                                                                                                  \
                                                                                                                       \
    const struct qd_op qd_op_##id = {                                                                                  \
        .domain = (where),                                                                                             \
        .name = (onnx),                                                                                                \
        .min_opset = (where) ? 1 : 10,                                                                                 \
        .max_opset = (where) ? 1 : 22,                                                                                 \
        .min_inputs = 3 * (n_of) + 1,                                                                                  \
        .max_inputs = (last),                                                                                          \
        .n_outputs = 1,                                                                                                \
        .limits = "read as the operator on floats and its scales: int8 as that is",                                    \
        .expand = id##_expand,                                                                                         \
    };

/* Scales of a matrix's rows (A) or columns (B). */
QLINEAR(qlinear_conv, "QLinearConv", NULL, 9, qd_op_conv, 2, .operands = {{0, 1, 2, 1}, {3, 4, 5, 0}}, .out_scale = 6,
        .out_zero = 7, .bias = 8)
QLINEAR(qlinear_mat_mul, "QLinearMatMul", NULL, 8, qd_op_mat_mul, 2, .operands = {{0, 1, 2, -2}, {3, 4, 5, -1}},
        .out_scale = 6, .out_zero = 7, .bias = NO_INPUT)
QLINEAR(qlinear_add, "QLinearAdd", QD_DOMAIN_MICROSOFT, 8, qd_op_add, 2, .operands = {{0, 1, 2, 1}, {3, 4, 5, 1}},
        .out_scale = 6, .out_zero = 7, .bias = NO_INPUT)
QLINEAR(qlinear_mul, "QLinearMul", QD_DOMAIN_MICROSOFT, 8, qd_op_mul, 2, .operands = {{0, 1, 2, 1}, {3, 4, 5, 1}},
        .out_scale = 6, .out_zero = 7, .bias = NO_INPUT)
QLINEAR(qlinear_sigmoid, "QLinearSigmoid", QD_DOMAIN_MICROSOFT, 5, qd_op_sigmoid, 1, .operands = {{0, 1, 2, 1}},
        .out_scale = 3, .out_zero = 4, .bias = NO_INPUT)
QLINEAR(qlinear_leaky_relu, "QLinearLeakyRelu", QD_DOMAIN_MICROSOFT, 5, qd_op_leaky_relu, 1, .operands = {{0, 1, 2, 1}},
        .out_scale = 3, .out_zero = 4, .bias = NO_INPUT)
QLINEAR(qlinear_global_average_pool, "QLinearGlobalAveragePool", QD_DOMAIN_MICROSOFT, 5, qd_op_global_average_pool, 1,
        .operands = {{0, 1, 2, 1}}, .out_scale = 3, .out_zero = 4, .bias = NO_INPUT)
QLINEAR(qlinear_average_pool, "QLinearAveragePool", QD_DOMAIN_MICROSOFT, 5, qd_op_average_pool, 1,
        .operands = {{0, 1, 2, 1}}, .out_scale = 3, .out_zero = 4, .bias = NO_INPUT)

static enum qd_status q_gemm_expand(struct qd_graph *graph, int n, struct qd_error *err)
{
    struct form form = {.core = &qd_op_gemm,
                        .n_operands = 2,
                        .operands = {{0, 1, 2, 0}, {3, 4, 5, 1}},
                        .out_scale = 7,
                        .out_zero = 8,
                        .bias = 6};
    int64_t transposed;
    float alpha;
    enum qd_status status = qd_node_attr_int(&graph->nodes[n], "transB", 0, &transposed, err);

    if (status == QD_OK)
        status = qd_node_attr_float(&graph->nodes[n], "alpha", 1, &alpha, err);
    if (status == QD_OK && alpha != 1)
        return qd_error_set(err, QD_UNSUPPORTED, "alpha: expected 1, found %g", (double)alpha);
    form.operands[1].axis = transposed ? 0 : 1;
    return status == QD_OK ? expand(graph, n, &form, err) : status;
}

const struct qd_op qd_op_q_gemm = {
    .domain = QD_DOMAIN_MICROSOFT,
    .name = "QGemm",
    .min_opset = 1,
    .max_opset = 1,
    .min_inputs = 6,
    .max_inputs = 9,
    .n_outputs = 1,
    .limits = "alpha 1; read as Gemm and its scales: int8 as that is",
    .expand = q_gemm_expand,
};

/* The output's scale and zero point, then three inputs for each operand. */
static enum qd_status concat_expand(struct qd_graph *graph, int n, struct qd_error *err)
{
    int n_operands = (graph->nodes[n].n_inputs - 2) / 3;
    int out_scale = graph->nodes[n].inputs[0], out_zero = graph->nodes[n].inputs[1];
    int *inputs = qd_arena_array(&graph->arena, (size_t)n_operands + 1, sizeof(*inputs));
    enum qd_status status = QD_OK;

    if (!inputs)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a node");
    if (graph->nodes[n].n_inputs % 3 != 2)
        return qd_error_set(err, QD_INVALID, "expected two inputs and three for each operand, found %d",
                            graph->nodes[n].n_inputs);
    for (int i = 0; i < n_operands && status == QD_OK; i++) {
        const struct operand operand = {3 * i + 2, 3 * i + 3, 3 * i + 4, 1};

        status = dequantize_operand(graph, n, &operand, &inputs[i], err);
    }
    if (status == QD_OK)
        status = become(graph, n, &qd_op_concat, inputs, n_operands, err);
    return status == QD_OK ? quantize_output(graph, n, out_scale, out_zero, err) : status;
}

const struct qd_op qd_op_qlinear_concat = {
    .domain = QD_DOMAIN_MICROSOFT,
    .name = "QLinearConcat",
    .min_opset = 1,
    .max_opset = 1,
    .min_inputs = 5,
    .max_inputs = -1,
    .n_outputs = 1,
    .limits = "read as Concat and its scales: int8 as that is",
    .expand = concat_expand,
};

/* The sums of integers as int32, by way of floats: exact as far as they stay below 2^24. */
static enum qd_status integers(struct qd_graph *graph, int n, const struct form *form, struct qd_error *err)
{
    int output = graph->nodes[n].outputs[0], sum;
    enum qd_status status = expand(graph, n, form, err);

    if (status == QD_OK)
        status = new_value(graph, n, "sum", &sum, err);
    if (status != QD_OK)
        return status;
    graph->nodes[n].outputs[0] = sum;
    return add_node(graph, n, &qd_op_cast, &sum, 1, output, "to", 6, err);
}

static enum qd_status conv_integer_expand(struct qd_graph *graph, int n, struct qd_error *err)
{
    static const struct form form = {.core = &qd_op_conv,
                                     .n_operands = 2,
                                     .operands = {{0, NO_INPUT, 2, 1}, {1, NO_INPUT, 3, 0}},
                                     .out_scale = NO_INPUT,
                                     .out_zero = NO_INPUT,
                                     .bias = NO_INPUT};

    return integers(graph, n, &form, err);
}

static enum qd_status mat_mul_integer_expand(struct qd_graph *graph, int n, struct qd_error *err)
{
    static const struct form form = {.core = &qd_op_mat_mul,
                                     .n_operands = 2,
                                     .operands = {{0, NO_INPUT, 2, -2}, {1, NO_INPUT, 3, -1}},
                                     .out_scale = NO_INPUT,
                                     .out_zero = NO_INPUT,
                                     .bias = NO_INPUT};

    return integers(graph, n, &form, err);
}

#define INTEGER_FIELDS                                                                                                 \
    .min_opset = 10, .max_opset = 22, .min_inputs = 2, .max_inputs = 4, .n_outputs = 1,                                \
    .limits = "runs in fp32: sums are exact below 2^24"

const struct qd_op qd_op_conv_integer = {.name = "ConvInteger", INTEGER_FIELDS, .expand = conv_integer_expand};
const struct qd_op qd_op_mat_mul_integer = {.name = "MatMulInteger", INTEGER_FIELDS, .expand = mat_mul_integer_expand};
