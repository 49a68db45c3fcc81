/*
 * The QDQ form: every rounded activation goes through QuantizeLinear and DequantizeLinear, weights and biases are
 * integer initializers behind a DequantizeLinear. Where the pairs stand is what ONNX Runtime's selectors look for:
 * around every int8 operator, none between an operator and a Relu or Clip that the rounding does anyway.
 */
#include <math.h>
#include <string.h>

#include "onnx/onnx.h"
#include "onnx/writer.h"
#include "op/conv.h"
#include "op/conv_q8.h"
#include "op/normalize.h"
#include "op/op.h"
#include "op/ops.h"
#include "op/q8.h"

#define MIN_OPSET 13       /* DequantizeLinear takes an axis since */
#define MIN_INPUT_OPSET 11 /* since then few operators changed until 13, and those are refused */

struct qdq {
    struct qd_onnx_writer w;
    const struct qd_graph *graph;
    const bool *int8;  /* by node */
    bool *rounded;     /* by value: written with Q and DQ */
    bool *written;     /* by value: a constant that is an initializer already */
    const char **raw;  /* by value: what its producer writes */
    const char **read; /* by value: what its readers read */
};

/* What an int8 layer has in the file: the calibration's integers, in the order of the node's own weights. */
struct layer {
    int n, k;          /* channels, weights of each */
    bool columns;      /* the weights lie [k][n] and not [n][k] */
    const float *bias; /* [n] or NULL */
    int8_t *q;         /* as the node's weights lie */
    float *scale;      /* [n] */
};

static bool takes_floats(const struct qd_op *op)
{
    return op == &qd_op_gemm || op == &qd_op_mat_mul;
}

static bool is_activation(const struct qd_graph *graph, int value)
{
    return value != QD_NO_VALUE && !graph->values[value].data;
}

/* What the first and the last byte stand for. */
static float lowest(struct qd_qparams q)
{
    return -(float)q.zero_point * q.scale;
}

static float highest(struct qd_qparams q)
{
    return (float)(qd_q8_max(q) - q.zero_point) * q.scale;
}

/* Whether rounding to q does all that a clip does: half a step beyond a bound is the bound's own byte. */
static bool rounding_clips(const struct qd_activation *act, struct qd_qparams q)
{
    float low = lowest(q), high = highest(q);

    return act->kind == QD_ACT_CLIP && low >= act->min - q.scale / 2 && high <= act->max + q.scale / 2;
}

/* The clip that is the value's only reader and that the rounding of its own output makes superfluous, or NULL. */
static const struct qd_node *swallowed_clip(const struct qdq *s, int value)
{
    const struct qd_node *user = qd_graph_only_user(s->graph, value);
    struct qd_activation act;

    if (!user || !user->op->as_activation || !user->op->as_activation(s->graph, user, &act))
        return NULL;
    return s->rounded[user->outputs[0]] && rounding_clips(&act, s->graph->values[user->outputs[0]].q) ? user : NULL;
}

/*
 * A node that moves bytes between int8 neighbours stays int8 in the file also where this graph's plan would run it in
 * float, because there it never stands alone (a channel shuffle's Transpose). What the plan has no step for is one,
 * too: a concatenation in place, a name.
 */
static bool moves_bytes(const struct qdq *s, const struct qd_node *node)
{
    struct qd_qparams in = s->graph->values[node->inputs[0]].q, out = s->graph->values[node->outputs[0]].q;

    return qd_node_ties_scales(s->graph, node) && s->rounded[node->inputs[0]] &&
           !qd_graph_is_output(s->graph, node->outputs[0]) && in.scale == out.scale && in.zero_point == out.zero_point;
}

static void decide_rounding(struct qdq *s)
{
    const struct qd_graph *graph = s->graph;

    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        bool int8 = s->int8[n] || moves_bytes(s, node);

        for (int i = 0; i < node->n_inputs && int8; i++)
            if (is_activation(graph, node->inputs[i]))
                s->rounded[node->inputs[i]] = graph->values[node->inputs[i]].q.scale > 0;
        for (int i = 0; i < node->n_outputs && int8; i++)
            if (node->outputs[i] != QD_NO_VALUE && !takes_floats(node->op))
                s->rounded[node->outputs[i]] = graph->values[node->outputs[i]].q.scale > 0;
    }
    for (int v = 0; v < graph->n_values; v++)
        if (s->rounded[v] && swallowed_clip(s, v))
            s->rounded[v] = false;
}

/* A Requantize between equal scales: its readers read its input, and it is not written. */
static bool is_name(const struct qdq *s, const struct qd_node *node)
{
    return node->op == &qd_op_requantize && qd_node_renames(s->graph, node) && s->rounded[node->inputs[0]] &&
           !qd_graph_is_output(s->graph, node->outputs[0]);
}

/* What producers write and readers read. An output of the graph keeps its name on the readers' side. */
static void name_values(struct qdq *s)
{
    const struct qd_graph *graph = s->graph;

    for (int v = 0; v < graph->n_values; v++)
        s->raw[v] = s->read[v] = graph->values[v].name;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        /* The model's input is what preprocessing gives, as in the original model. */
        if (node->op == &qd_op_normalize)
            s->raw[node->outputs[0]] = s->read[node->outputs[0]] = graph->values[node->inputs[0]].name;
    }
    for (int v = 0; v < graph->n_values; v++) {
        if (!s->rounded[v])
            continue;
        if (qd_graph_is_output(graph, v))
            s->raw[v] = qd_onnx_writer_name(&s->w, "quantd.float.", s->raw[v]);
        else
            s->read[v] = qd_onnx_writer_name(&s->w, "quantd.rounded.", s->raw[v]);
    }
    for (int n = 0; n < graph->n_nodes; n++)
        if (is_name(s, &graph->nodes[n]))
            s->read[graph->nodes[n].outputs[0]] = s->read[graph->nodes[n].inputs[0]];
}

static Onnx__NodeProto *add_dequantize(struct qdq *s, const char *in, const char *scale, const char *zero,
                                       const char *out)
{
    const char *name = qd_onnx_writer_name(&s->w, "DequantizeLinear.", in);
    Onnx__NodeProto *node = qd_onnx_add_node(&s->w, "DequantizeLinear", name, 3, 1, 1);

    if (!node)
        return NULL;
    node->input[0] = (char *)(uintptr_t)in;
    node->input[1] = (char *)(uintptr_t)scale;
    node->input[2] = (char *)(uintptr_t)zero;
    node->output[0] = (char *)(uintptr_t)out;
    return node;
}

static const struct qd_shape scalar = {0};

/* Whether the value has no other bytes than its maker's inputs: of one that moves or compares bytes. */
static bool keeps_levels(const struct qdq *s, int v)
{
    const struct qd_node *maker = &s->graph->nodes[s->graph->values[v].producer];
    struct qd_qparams q = s->graph->values[v].q;

    for (int i = 0; i < maker->n_inputs; i++) {
        struct qd_qparams in = {0};

        if (!is_activation(s->graph, maker->inputs[i]))
            continue;
        in = s->graph->values[maker->inputs[i]].q;
        if (!s->rounded[maker->inputs[i]] || in.scale != q.scale || in.zero_point != q.zero_point || in.bits != q.bits)
            return false;
    }
    return (maker->op->flags & QD_OP_SAME_SCALE) != 0;
}

/*
 * What QuantizeLinear rounds: the value, or, as it knows no fewer than 8 bits, a Clip of it to the levels that there
 * are.
 */
static const char *add_clip(struct qdq *s, int v)
{
    const struct qd_value *value = &s->graph->values[v];
    const char *names[] = {s->raw[v], qd_onnx_writer_name(&s->w, "quantd.lowest.", value->name),
                           qd_onnx_writer_name(&s->w, "quantd.highest.", value->name)};
    float *bounds;
    Onnx__NodeProto *node;

    if (value->q.bits == 8 || keeps_levels(s, v))
        return s->raw[v];
    bounds = qd_onnx_writer_take(&s->w, 2, sizeof(float));
    node = qd_onnx_add_node(&s->w, "Clip", qd_onnx_writer_name(&s->w, "quantd.Clip.", value->name), 3, 1, 0);
    if (!node || !bounds)
        return "";
    bounds[0] = lowest(value->q);
    bounds[1] = highest(value->q);
    for (int i = 0; i < 3; i++)
        node->input[i] = (char *)(uintptr_t)names[i];
    node->output[0] = (char *)(uintptr_t)qd_onnx_writer_name(&s->w, "quantd.clipped.", value->name);
    qd_onnx_add_tensor(&s->w, names[1], QD_F32, &scalar, &bounds[0]);
    qd_onnx_add_tensor(&s->w, names[2], QD_F32, &scalar, &bounds[1]);
    return node->output[0];
}

/* The pair behind whoever makes the value. */
static void add_pair(struct qdq *s, int v)
{
    const struct qd_value *value = &s->graph->values[v];
    const char *q = qd_onnx_writer_name(&s->w, "quantd.q.", value->name);
    const char *scale_name = qd_onnx_writer_name(&s->w, "quantd.scale.", value->name);
    const char *zero_name = qd_onnx_writer_name(&s->w, "quantd.zero.", value->name);
    const char *name = qd_onnx_writer_name(&s->w, "QuantizeLinear.", value->name), *in = add_clip(s, v);
    Onnx__NodeProto *node = qd_onnx_add_node(&s->w, "QuantizeLinear", name, 3, 1, 0);
    uint8_t *zero = qd_onnx_writer_take(&s->w, 1, 1);

    if (!node || !zero)
        return;
    *zero = (uint8_t)value->q.zero_point;
    qd_onnx_add_tensor(&s->w, scale_name, QD_F32, &scalar, &value->q.scale);
    qd_onnx_add_tensor(&s->w, zero_name, QD_U8, &scalar, zero);
    node->input[0] = (char *)(uintptr_t)in;
    node->input[1] = (char *)(uintptr_t)scale_name;
    node->input[2] = (char *)(uintptr_t)zero_name;
    node->output[0] = (char *)(uintptr_t)q;
    add_dequantize(s, q, scale_name, zero_name, s->read[v]);
}

/* What the calibration found, or else the weights rounded to nearest: *ret lies [n][k]. */
static void round_weights(struct qdq *s, const struct qd_node *node, const struct qd_layer *layer, int k,
                          const int8_t **ret, float *scale)
{
    const struct qd_layer_weights *found = node->layer_weights;
    int8_t *q;

    if (found && found->q) {
        memcpy(scale, found->scale, (size_t)layer->n * sizeof(float));
        *ret = found->q;
        return;
    }
    *ret = q = qd_onnx_writer_take(&s->w, (size_t)layer->n * (size_t)k, 1);
    if (q)
        qd_weights_quantize(layer->weights, layer->n, k, found ? found->bits : 8, q, scale);
}

/*
 * A bias must fit int32 in steps of input scale times weight scale: a channel of near-zero weights gets coarser ones.
 * Of row o of layer, [n][k].
 */
static void widen_scale(const struct layer *layer, int o, float in_scale, const int8_t *row, float *wide)
{
    float least = layer->bias ? fabsf(layer->bias[o]) / in_scale / (float)(1 << 30) : 0, ratio = 1;
    int64_t stride = layer->columns ? layer->n : 1, first = layer->columns ? o : (int64_t)o * layer->k;

    if (*wide < least) {
        ratio = *wide / least;
        *wide = least;
    }
    for (int i = 0; i < layer->k; i++)
        layer->q[first + i * stride] = (int8_t)rintf((float)row[i] * ratio);
}

static bool lies_in_columns(const struct qd_node *node)
{
    const struct qd_attr *transposed = qd_node_attr(node, "transB");

    return takes_floats(node->op) && (!transposed || !transposed->i);
}

/* False: no memory. */
static bool make_layer(struct qdq *s, const struct qd_node *node, struct layer *ret)
{
    struct qd_arena scratch = {0};
    struct qd_layer layer = {0};
    struct qd_error ignored = {""};
    const int8_t *q = NULL;
    float *bias;

    if (node->op->layer(s->graph, node, &scratch, &layer, &ignored) != QD_OK)
        s->w.failed = true;
    ret->n = layer.n;
    ret->k = layer.n ? (int)(qd_shape_count(&s->graph->values[node->inputs[1]].shape) / layer.n) : 0;
    ret->columns = lies_in_columns(node);
    ret->q = qd_onnx_writer_take(&s->w, (size_t)ret->n * (size_t)ret->k, 1);
    ret->scale = qd_onnx_writer_take(&s->w, (size_t)ret->n, sizeof(float));
    ret->bias = bias = qd_onnx_writer_take(&s->w, (size_t)ret->n, sizeof(float));
    if (node->layer_weights && node->layer_weights->bias)
        layer.bias = node->layer_weights->bias;
    if (!s->w.failed)
        round_weights(s, node, &layer, ret->k, &q, ret->scale);
    if (!s->w.failed && layer.bias)
        memcpy(bias, layer.bias, (size_t)ret->n * sizeof(float));
    ret->bias = layer.bias ? bias : NULL;
    for (int o = 0; o < ret->n && !s->w.failed; o++)
        widen_scale(ret, o, s->graph->values[node->inputs[0]].q.scale, q + (int64_t)o * ret->k, &ret->scale[o]);
    qd_arena_done(&scratch);
    return !s->w.failed;
}

/* An integer tensor of the node's, with a scale per channel, behind a DequantizeLinear whose output's name comes back.
 */
static const char *add_rounded(struct qdq *s, const struct qd_node *node, const char *what, enum qd_dtype dtype,
                               const struct qd_shape *shape, const void *data, const float *scale, int64_t n, int axis)
{
    const struct qd_shape channels = {.n_dims = 1, .dims = {n}};
    const char *base = qd_onnx_writer_name(&s->w, what, s->graph->values[node->outputs[0]].name);
    const char *scale_name = qd_onnx_writer_name(&s->w, "quantd.scale.", base);
    const char *zero_name = qd_onnx_writer_name(&s->w, "quantd.zero.", base);
    const char *in = qd_onnx_writer_name(&s->w, "quantd.q.", base);
    const char *out = qd_onnx_writer_name(&s->w, "quantd.rounded.", base);
    const void *zeros = qd_onnx_writer_take(&s->w, (size_t)n, qd_dtype_size(dtype));

    qd_onnx_add_tensor(&s->w, in, dtype, shape, data);
    qd_onnx_add_tensor(&s->w, scale_name, QD_F32, &channels, scale);
    qd_onnx_add_tensor(&s->w, zero_name, dtype, &channels, zeros);
    qd_onnx_add_int(&s->w, add_dequantize(s, in, scale_name, zero_name, out), "axis", axis);
    return out;
}

static void write_layer(struct qdq *s, const struct qd_node *node, const char **inputs)
{
    float in_scale = s->graph->values[node->inputs[0]].q.scale, *bias_scale;
    struct layer layer;
    struct qd_shape channels = {.n_dims = 1};
    int32_t *bias;

    if (!make_layer(s, node, &layer))
        return;
    inputs[1] = add_rounded(s, node, "weights.", QD_S8, &s->graph->values[node->inputs[1]].shape, layer.q, layer.scale,
                            layer.n, layer.columns);
    bias_scale = qd_onnx_writer_take(&s->w, (size_t)layer.n, sizeof(float));
    bias = qd_onnx_writer_take(&s->w, (size_t)layer.n, sizeof(int32_t));
    if (!layer.bias || !bias_scale || !bias)
        return;
    channels.dims[0] = layer.n;
    for (int o = 0; o < layer.n; o++) {
        bias_scale[o] = in_scale * layer.scale[o];
        bias[o] = (int32_t)rintf(layer.bias[o] / bias_scale[o]);
    }
    inputs[2] = add_rounded(s, node, "bias.", QD_I32, &channels, bias, bias_scale, layer.n, 0);
}

/* Padding may have come from a Pad, and auto_pad is resolved: the attributes are written from what the layer does. */
static void write_conv_attrs(struct qdq *s, const struct qd_node *node, Onnx__NodeProto *to)
{
    const struct qd_conv_attrs *params = node->params;
    const struct qd_window *window = &params->window;
    const int64_t pads[] = {window->pad_begin[0], window->pad_begin[1], window->pad_end[0], window->pad_end[1]};

    qd_onnx_add_ints(&s->w, to, "kernel_shape", window->kernel, 2);
    qd_onnx_add_ints(&s->w, to, "strides", window->stride, 2);
    qd_onnx_add_ints(&s->w, to, "dilations", window->dilation, 2);
    qd_onnx_add_ints(&s->w, to, "pads", pads, 4);
    qd_onnx_add_int(&s->w, to, "group", params->group);
}

/* alpha and beta are in the integers. */
static void write_gemm_attrs(struct qdq *s, const struct qd_node *node, Onnx__NodeProto *to)
{
    const struct qd_attr *transposed = qd_node_attr(node, "transB");

    if (transposed)
        qd_onnx_add_attr(&s->w, to, transposed);
}

/* The shape was folded for one image: 0 copies the batch dimension, whatever it is. */
static void write_reshape(struct qdq *s, const struct qd_node *node, const char **inputs)
{
    const struct qd_shape *in = &s->graph->values[node->inputs[0]].shape;
    const struct qd_shape *out = &s->graph->values[node->outputs[0]].shape;
    const struct qd_shape shape = {.n_dims = 1, .dims = {out->n_dims}};
    const char *name = qd_onnx_writer_name(&s->w, "quantd.shape.", s->graph->values[node->outputs[0]].name);
    int64_t *dims = qd_onnx_writer_take(&s->w, QD_MAX_DIMS, sizeof(*dims));

    if (!dims)
        return;
    memcpy(dims, out->dims, sizeof(out->dims));
    if (in->n_dims && out->n_dims && in->dims[0] == 1 && dims[0] == 1)
        dims[0] = 0;
    qd_onnx_add_tensor(&s->w, name, QD_I64, &shape, dims);
    inputs[1] = name;
}

static void write_constant(struct qdq *s, int v)
{
    const struct qd_value *value = &s->graph->values[v];

    if (s->written[v])
        return;
    s->written[v] = true;
    qd_onnx_add_tensor(&s->w, value->name, value->dtype, &value->shape, value->data);
}

static void write_attrs(struct qdq *s, const struct qd_node *node, bool is_layer, Onnx__NodeProto *to)
{
    /* No pass changes a convolution of another rank. */
    if (node->op == &qd_op_conv && s->graph->values[node->outputs[0]].shape.n_dims == 4)
        write_conv_attrs(s, node, to);
    else if (is_layer)
        write_gemm_attrs(s, node, to);
    else
        for (int i = 0; i < node->n_attrs; i++)
            qd_onnx_add_attr(&s->w, to, &node->attrs[i]);
}

/* The sum of what the node makes, a product of more than a matrix, and a row; returns the product's name. */
static const char *add_row(struct qdq *s, const struct qd_node *node, const char *row)
{
    const char *product = qd_onnx_writer_name(&s->w, "quantd.product.", s->graph->values[node->outputs[0]].name);
    Onnx__NodeProto *add =
        qd_onnx_add_node(&s->w, "Add", qd_onnx_writer_name(&s->w, "quantd.Add.", node->name), 2, 1, 0);

    if (!add)
        return product;
    add->input[0] = (char *)(uintptr_t)product;
    add->input[1] = (char *)(uintptr_t)row;
    add->output[0] = (char *)(uintptr_t)s->raw[node->outputs[0]];
    return product;
}

static void write_node(struct qdq *s, int n)
{
    const struct qd_node *node = &s->graph->nodes[n];
    const char *inputs[3] = {NULL}; /* in the place of the node's own */
    bool is_layer = s->int8[n] && node->op->layer && s->rounded[node->inputs[0]];
    const struct qd_op *op = node->op;
    const char *row = NULL; /* for an Add behind the node */
    int n_inputs = node->n_inputs;
    Onnx__NodeProto *to;

    if (is_layer)
        write_layer(s, node, inputs);
    if (node->op == &qd_op_reshape)
        write_reshape(s, node, inputs);
    /* A correction may have given it a bias. Gemm takes matrices alone. */
    if (inputs[2] && op == &qd_op_mat_mul && s->graph->values[node->outputs[0]].shape.n_dims != 2) {
        row = inputs[2];
        inputs[2] = NULL;
    }
    if (inputs[2] && n_inputs < 3)
        n_inputs = 3;
    if (inputs[2] && op == &qd_op_mat_mul)
        op = &qd_op_gemm;
    /* The pair behind it says how it rounds. */
    if (op == &qd_op_requantize)
        op = &qd_op_identity;
    to = qd_onnx_add_node(&s->w, op->name, node->name, n_inputs, node->n_outputs, node->n_attrs + 5);
    if (!to)
        return;
    for (int i = 0; i < n_inputs; i++) {
        if (i < 3 && inputs[i]) {
            to->input[i] = (char *)(uintptr_t)inputs[i];
            continue;
        }
        if (node->inputs[i] == QD_NO_VALUE)
            continue;
        to->input[i] = (char *)(uintptr_t)s->read[node->inputs[i]];
        if (s->graph->values[node->inputs[i]].data)
            write_constant(s, node->inputs[i]);
    }
    for (int i = 0; i < node->n_outputs; i++)
        if (node->outputs[i] != QD_NO_VALUE)
            to->output[i] = (char *)(uintptr_t)s->raw[node->outputs[i]];
    write_attrs(s, node, is_layer, to);
    if (row)
        to->output[0] = (char *)(uintptr_t)add_row(s, node, row);
}

/*
 * A clip whose bounds the rounding keeps to within half a step, but not exactly, would stand in ONNX Runtime's way; one
 * in front of add_clip's does nothing. */
static bool is_left_out(const struct qdq *s, const struct qd_node *node)
{
    struct qd_activation act;
    struct qd_qparams q;

    if (node->op == &qd_op_normalize)
        return true;
    if (!node->op->as_activation || s->rounded[node->inputs[0]] || !s->rounded[node->outputs[0]] ||
        swallowed_clip(s, node->inputs[0]) != node || !node->op->as_activation(s->graph, node, &act))
        return false;
    q = s->graph->values[node->outputs[0]].q;
    return q.bits < 8 || (act.max < (float)INFINITY && highest(q) > act.max);
}

static void write_nodes(struct qdq *s)
{
    const struct qd_graph *graph = s->graph;

    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (is_name(s, node))
            continue;
        if (is_left_out(s, node) && node->op != &qd_op_normalize)
            s->raw[node->outputs[0]] = s->raw[node->inputs[0]];
        else if (node->op != &qd_op_normalize)
            write_node(s, n);
        for (int i = 0; i < node->n_outputs; i++)
            if (node->outputs[i] != QD_NO_VALUE && s->rounded[node->outputs[i]])
                add_pair(s, node->outputs[i]);
    }
}

/* Operators whose attributes became inputs, or whose meaning changed, between opset 11 and 13. */
static bool changed_until_13(const struct qd_graph *graph, const struct qd_node *node)
{
    if (node->op == &qd_op_softmax || node->op == &qd_op_log_softmax || node->op == &qd_op_hardmax)
        return graph->values[node->inputs[0]].shape.n_dims != 2;
    return node->op == &qd_op_squeeze || node->op == &qd_op_unsqueeze || node->op == &qd_op_split ||
           node->op == &qd_op_reduce_sum;
}

static enum qd_status find_opset(const struct qd_graph *graph, int *ret, struct qd_error *err)
{
    *ret = MIN_OPSET;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (node->op == &qd_op_normalize || node->op == &qd_op_requantize)
            continue;
        if (node->residual >= 0 || node->act.kind != QD_ACT_NONE)
            return qd_error_set(err, QD_UNSUPPORTED, "node '%.80s': fused nodes have no ONNX form", node->name);
        if (node->opset < MIN_INPUT_OPSET || (node->opset < MIN_OPSET && changed_until_13(graph, node)))
            return qd_error_set(err, QD_UNSUPPORTED,
                                "node '%.80s' (%s): a QDQ model needs opset %d, found %d: export the model with that",
                                node->name, node->op->name, MIN_OPSET, node->opset);
        *ret = node->opset > *ret ? node->opset : *ret;
    }
    return QD_OK;
}

/* Runtimes take no zero point and scale per channel of an activation as int8. */
static enum qd_status check_steps(const struct qd_graph *graph, struct qd_error *err)
{
    for (int v = 0; v < graph->n_values; v++)
        if (graph->values[v].channel_steps)
            return qd_error_set(err, QD_UNSUPPORTED,
                                "tensor '%.80s' has a step per channel: a QDQ model needs a calibration with one step",
                                graph->values[v].name);
    return QD_OK;
}

enum qd_status qd_onnx_save_qdq(const struct qd_graph *graph, const bool *int8, struct qd_buf *out,
                                struct qd_error *err)
{
    struct qdq s = {.graph = graph, .int8 = int8};
    size_t n_values = (size_t)graph->n_values, n_nodes = (size_t)graph->n_nodes;
    int opset;
    enum qd_status status = find_opset(graph, &opset, err);

    if (status == QD_OK)
        status = check_steps(graph, err);
    if (status != QD_OK)
        return status;
    /* A node with its weights' and bias's DequantizeLinear and Add; a pair, with scale, zero point and Clip, per value.
     */
    qd_onnx_writer_init(&s.w, 4 * n_nodes + 3 * n_values, 7 * n_nodes + 4 * n_values,
                        (size_t)(graph->n_inputs + graph->n_outputs));
    s.rounded = qd_onnx_writer_take(&s.w, n_values, sizeof(bool));
    s.written = qd_onnx_writer_take(&s.w, n_values, sizeof(bool));
    s.raw = qd_onnx_writer_take(&s.w, n_values, sizeof(*s.raw));
    s.read = qd_onnx_writer_take(&s.w, n_values, sizeof(*s.read));
    if (!s.w.failed) {
        decide_rounding(&s);
        name_values(&s);
        for (int i = 0; i < graph->n_inputs; i++)
            qd_onnx_add_input(&s.w, graph->values[graph->inputs[i]].name, &graph->values[graph->inputs[i]].shape);
        write_nodes(&s);
        for (int i = 0; i < graph->n_outputs; i++)
            qd_onnx_add_output(&s.w, graph->values[graph->outputs[i]].name, &graph->values[graph->outputs[i]].shape);
    }
    status = qd_onnx_writer_pack(&s.w, opset, out, err);
    qd_onnx_writer_done(&s.w);
    return status;
}
