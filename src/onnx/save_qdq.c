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

/* Operators with constant weights as input 1 and a bias as input 2; the channel's axis is axis, counted from the end.
 */
struct layer {
    const float *weights, *bias;
    int64_t n, k; /* channels, weights of each */
    int axis;     /* of the channels in the weights */
};

static bool takes_floats(const struct qd_op *op)
{
    return op == &qd_op_gemm || op == &qd_op_mat_mul;
}

/* Weights that can be int8 initializers as they lie; false: the node keeps floats. */
static bool find_layer(const struct qd_graph *graph, const struct qd_node *node, struct layer *ret)
{
    const struct qd_value *w = qd_node_input(graph, node, 1), *bias = qd_node_input(graph, node, 2);
    struct qd_error ignored = {""};
    int64_t trans_a = 0, trans_b = 0;
    float alpha = 1, beta = 1;

    if (!(node->op == &qd_op_conv || takes_floats(node->op)) || !w || !w->data || (bias && !bias->data))
        return false;
    if (node->op == &qd_op_gemm) {
        qd_node_attr_int(node, "transA", 0, &trans_a, &ignored);
        qd_node_attr_int(node, "transB", 0, &trans_b, &ignored);
        qd_node_attr_float(node, "alpha", 1, &alpha, &ignored);
        qd_node_attr_float(node, "beta", 1, &beta, &ignored);
    }
    if (trans_a || alpha != 1 || beta != 1 || (node->op != &qd_op_conv && w->shape.n_dims != 2))
        return false;
    ret->axis = node->op == &qd_op_conv || trans_b ? 0 : 1;
    ret->n = w->shape.dims[ret->axis];
    ret->k = qd_shape_count(&w->shape) / ret->n;
    ret->weights = w->data;
    ret->bias = bias ? bias->data : NULL;
    return !bias || qd_shape_count(&bias->shape) == ret->n;
}

static bool is_activation(const struct qd_graph *graph, int value)
{
    return value != QD_NO_VALUE && !graph->values[value].data;
}

/* Whether rounding to q does all that a clip does: half a step beyond a bound is the bound's own byte. */
static bool rounding_clips(const struct qd_activation *act, struct qd_qparams q)
{
    float low = -(float)q.zero_point * q.scale, high = (255 - (float)q.zero_point) * q.scale;

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
 * float, because there it never stands alone (a channel shuffle's Transpose).
 */
static bool moves_bytes(const struct qdq *s, const struct qd_node *node)
{
    struct qd_qparams in = s->graph->values[node->inputs[0]].q, out = s->graph->values[node->outputs[0]].q;

    return (node->op->flags & QD_OP_SAME_SCALE) && node->precision == QD_PRECISION_Q8 && s->rounded[node->inputs[0]] &&
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

/* The pair behind whoever makes the value. */
static void add_pair(struct qdq *s, int v)
{
    static const struct qd_shape scalar = {0};
    const struct qd_value *value = &s->graph->values[v];
    const char *q = qd_onnx_writer_name(&s->w, "quantd.q.", value->name);
    const char *scale_name = qd_onnx_writer_name(&s->w, "quantd.scale.", value->name);
    const char *zero_name = qd_onnx_writer_name(&s->w, "quantd.zero.", value->name);
    const char *name = qd_onnx_writer_name(&s->w, "QuantizeLinear.", value->name);
    Onnx__NodeProto *node = qd_onnx_add_node(&s->w, "QuantizeLinear", name, 3, 1, 0);
    uint8_t *zero = qd_onnx_writer_take(&s->w, 1, 1);

    if (!node || !zero)
        return;
    *zero = (uint8_t)value->q.zero_point;
    qd_onnx_add_tensor(&s->w, scale_name, QD_F32, &scalar, &value->q.scale);
    qd_onnx_add_tensor(&s->w, zero_name, QD_U8, &scalar, zero);
    node->input[0] = (char *)(uintptr_t)s->raw[v];
    node->input[1] = (char *)(uintptr_t)scale_name;
    node->input[2] = (char *)(uintptr_t)zero_name;
    node->output[0] = (char *)(uintptr_t)q;
    add_dequantize(s, q, scale_name, zero_name, s->read[v]);
}

/* One scale per channel, and the channels' bytes where their floats lie. */
static void round_weights(const struct layer *layer, float *rows, int8_t *rounded, int8_t *out, float *scale)
{
    int64_t channel_stride = layer->axis ? 1 : layer->k, stride = layer->axis ? layer->n : 1;

    for (int64_t o = 0; o < layer->n; o++)
        for (int64_t i = 0; i < layer->k; i++)
            rows[o * layer->k + i] = layer->weights[o * channel_stride + i * stride];
    qd_weights_quantize(rows, (int)layer->n, (int)layer->k, 8, rounded, scale);
    for (int64_t o = 0; o < layer->n; o++)
        for (int64_t i = 0; i < layer->k; i++)
            out[o * channel_stride + i * stride] = rounded[o * layer->k + i];
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

/* A bias must fit int32 in steps of input scale times weight scale: a channel of near-zero weights gets coarser ones.
 */
static void widen_scales(const struct layer *layer, float in_scale, int8_t *q, float *scale)
{
    int64_t channel_stride = layer->axis ? 1 : layer->k, stride = layer->axis ? layer->n : 1;

    for (int64_t o = 0; o < layer->n && layer->bias; o++) {
        float least = fabsf(layer->bias[o]) / in_scale / (float)(1 << 30);

        if (scale[o] >= least)
            continue;
        scale[o] = least;
        for (int64_t i = 0; i < layer->k; i++)
            q[o * channel_stride + i * stride] = (int8_t)rintf(layer->weights[o * channel_stride + i * stride] / least);
    }
}

static void write_layer(struct qdq *s, const struct qd_node *node, const struct layer *layer, const char **inputs)
{
    const struct qd_shape *shape = &s->graph->values[node->inputs[1]].shape;
    const struct qd_shape channels = {.n_dims = 1, .dims = {layer->n}};
    float in_scale = s->graph->values[node->inputs[0]].q.scale;
    size_t count = (size_t)(layer->n * layer->k), n = (size_t)layer->n;
    int8_t *q = qd_onnx_writer_take(&s->w, count, 1);
    float *scale = qd_onnx_writer_take(&s->w, n, sizeof(float));
    float *bias_scale = qd_onnx_writer_take(&s->w, n, sizeof(float));
    int32_t *bias = qd_onnx_writer_take(&s->w, n, sizeof(int32_t));
    struct qd_arena scratch = {0};
    float *rows = qd_arena_array(&scratch, count, sizeof(float));
    int8_t *rounded = qd_arena_alloc(&scratch, count);

    if (!q || !scale || !bias_scale || !bias || !rows || !rounded) {
        s->w.failed = true;
        qd_arena_done(&scratch);
        return;
    }
    round_weights(layer, rows, rounded, q, scale);
    qd_arena_done(&scratch);
    widen_scales(layer, in_scale, q, scale);
    inputs[1] = add_rounded(s, node, "weights.", QD_S8, shape, q, scale, layer->n, layer->axis);
    if (!layer->bias)
        return;
    for (size_t o = 0; o < n; o++) {
        bias_scale[o] = in_scale * scale[o];
        bias[o] = (int32_t)rintf(layer->bias[o] / bias_scale[o]);
    }
    inputs[2] = add_rounded(s, node, "bias.", QD_I32, &channels, bias, bias_scale, layer->n, 0);
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

static void write_node(struct qdq *s, int n)
{
    const struct qd_node *node = &s->graph->nodes[n];
    const char *inputs[3] = {NULL}; /* in the place of the node's own */
    struct layer layer;
    Onnx__NodeProto *to;

    if (s->int8[n] && s->rounded[node->inputs[0]] && find_layer(s->graph, node, &layer))
        write_layer(s, node, &layer, inputs);
    if (node->op == &qd_op_reshape)
        write_reshape(s, node, inputs);
    to = qd_onnx_add_node(&s->w, node->op->name, node->name, node->n_inputs, node->n_outputs, node->n_attrs + 5);
    if (!to)
        return;
    for (int i = 0; i < node->n_inputs; i++) {
        const char *instead = i < 3 ? inputs[i] : NULL;

        if (node->inputs[i] == QD_NO_VALUE)
            continue;
        to->input[i] = (char *)(uintptr_t)(instead ? instead : s->read[node->inputs[i]]);
        if (s->graph->values[node->inputs[i]].data && !instead)
            write_constant(s, node->inputs[i]);
    }
    for (int i = 0; i < node->n_outputs; i++)
        if (node->outputs[i] != QD_NO_VALUE)
            to->output[i] = (char *)(uintptr_t)s->raw[node->outputs[i]];
    if (node->op == &qd_op_conv) {
        write_conv_attrs(s, node, to);
        return;
    }
    for (int i = 0; i < node->n_attrs; i++)
        qd_onnx_add_attr(&s->w, to, &node->attrs[i]);
}

/* A clip whose bounds the rounding keeps to within half a step, but not exactly, would stand in ONNX Runtime's way. */
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
    return act.max < (float)INFINITY && (255 - (float)q.zero_point) * q.scale > act.max;
}

static void write_nodes(struct qdq *s)
{
    const struct qd_graph *graph = s->graph;

    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

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
    if (node->op == &qd_op_softmax)
        return graph->values[node->inputs[0]].shape.n_dims != 2;
    return node->op == &qd_op_squeeze || node->op == &qd_op_unsqueeze || node->op == &qd_op_split;
}

static enum qd_status find_opset(const struct qd_graph *graph, int *ret, struct qd_error *err)
{
    *ret = MIN_OPSET;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (node->op == &qd_op_normalize)
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

enum qd_status qd_onnx_save_qdq(const struct qd_graph *graph, const bool *int8, struct qd_buf *out,
                                struct qd_error *err)
{
    struct qdq s = {.graph = graph, .int8 = int8};
    size_t n_values = (size_t)graph->n_values, n_nodes = (size_t)graph->n_nodes;
    int opset;
    enum qd_status status = find_opset(graph, &opset, err);

    if (status != QD_OK)
        return status;
    /* A node with its weights' and bias's DequantizeLinear; a pair, with scale and zero point, per value. */
    qd_onnx_writer_init(&s.w, 3 * n_nodes + 2 * n_values, 7 * n_nodes + 3 * n_values,
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
