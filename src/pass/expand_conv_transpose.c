#include <stdio.h>

#include "op/conv_transpose.h"
#include "op/ops.h"
#include "pass/internal.h"

/*
 * A transposed convolution of stride s is s * s convolutions, one for each place in a block of s * s outputs: side by
 * side as channels, then DepthToSpace. So it has an int8 form. Along one axis, output o at o + pad_begin = s * q + r
 * gets input i from tap k = r + s * j where i = q - j.
 */
struct axis {
    int64_t kernel;             /* of the convolution: how many j there are */
    int64_t pad_begin, pad_end; /* of the convolution */
    int64_t crop;               /* outputs in front of the first that is wanted */
    int64_t blocks;             /* the convolution's outputs */
};

static struct axis axis_of(const struct qd_window *window, int i, int64_t in, int64_t out)
{
    int64_t s = window->stride[i], first = window->pad_begin[i] / s;
    struct axis axis = {.kernel = (window->kernel[i] + s - 1) / s};

    first = first < axis.kernel - 1 ? first : axis.kernel - 1;
    axis.pad_begin = axis.kernel - 1 - first;
    axis.crop = window->pad_begin[i] - first * s;
    axis.pad_end = (axis.crop + out + s - 1) / s - in - axis.pad_begin + axis.kernel - 1;
    axis.pad_end = axis.pad_end > 0 ? axis.pad_end : 0;
    axis.blocks = in + axis.pad_begin + axis.pad_end - axis.kernel + 1;
    return axis;
}

/* One group of a picture with constant weights, where most taps of the convolutions are some of the kernel's. */
static bool expands(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_conv_transpose_attrs *attrs = node->params;
    const struct qd_value *w, *bias;

    if (node->op != &qd_op_conv_transpose || attrs->group != 1)
        return false;
    w = qd_node_input(graph, node, 1);
    bias = qd_node_input(graph, node, 2);
    if (w->shape.n_dims != 4 || !w->data || (bias && !bias->data))
        return false;
    if (attrs->window.stride[0] != attrs->window.stride[1])
        return false;
    for (int i = 0; i < 2; i++) {
        int64_t stride = attrs->window.stride[i], kernel = attrs->window.kernel[i];

        if (attrs->window.dilation[i] != 1 || (kernel + stride - 1) / stride * stride > 2 * kernel)
            return false;
    }
    return true;
}

static enum qd_status add_named(struct qd_graph *graph, const char *node_name, const char *what, int *ret,
                                struct qd_error *err)
{
    char base[160], name[256];

    snprintf(base, sizeof(base), "%.100s.%s", node_name, what);
    return qd_graph_add_value(graph, qd_graph_new_name(graph, base, name, sizeof(name)), ret, err);
}

/* The convolution's weights: output (ry * s + rx) * n + o has taps of output o. */
static enum qd_status turn_weights(struct qd_graph *graph, struct qd_node *node, const struct axis axes[2],
                                   struct qd_error *err)
{
    const struct qd_conv_transpose_attrs *attrs = node->params;
    const struct qd_value *old = qd_node_input(graph, node, 1), *old_bias = qd_node_input(graph, node, 2);
    int64_t s = attrs->window.stride[0], n = old->shape.dims[1], n_in = old->shape.dims[0];
    int64_t kh = old->shape.dims[2], kw = old->shape.dims[3], jh = axes[0].kernel, jw = axes[1].kernel;
    struct qd_shape shape = {.n_dims = 4, .dims = {s * s * n, n_in, jh, jw}};
    struct qd_shape bias_shape = {.n_dims = 1, .dims = {s * s * n}};
    const float *from = old->data, *bias_from = old_bias ? old_bias->data : NULL;
    char base[160], name[256];
    void *to, *bias;
    int index, bias_index;
    enum qd_status status;

    snprintf(base, sizeof(base), "%.100s.weights", node->name);
    status = qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_F32, &shape, NULL,
                                   &index, &to, err);
    snprintf(base, sizeof(base), "%.100s.bias", node->name);
    if (status == QD_OK)
        status = qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_F32, &bias_shape,
                                       NULL, &bias_index, &bias, err);
    if (status != QD_OK)
        return status;
    for (int64_t i = 0; i < s * s * n * n_in * jh * jw; i++) {
        int64_t ty = i / jw % jh, tx = i % jw, c = i / (jw * jh) % n_in, o = i / (jw * jh * n_in);
        int64_t ky = o / n / s + s * (jh - 1 - ty), kx = o / n % s + s * (jw - 1 - tx);

        ((float *)to)[i] = ky < kh && kx < kw ? from[((c * n + o % n) * kh + ky) * kw + kx] : 0;
    }
    for (int64_t o = 0; o < s * s * n; o++)
        ((float *)bias)[o] = bias_from ? bias_from[o % n] : 0;
    node->inputs[1] = index;
    return qd_graph_set_input(graph, node, 2, bias_index, err);
}

static enum qd_status become_conv(struct qd_graph *graph, struct qd_node *node, const struct axis axes[2],
                                  struct qd_error *err)
{
    struct qd_conv_attrs *conv = qd_arena_alloc(&graph->arena, sizeof(*conv));
    enum qd_status status = conv ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    if (status == QD_OK)
        status = turn_weights(graph, node, axes, err);
    if (status != QD_OK)
        return status;
    conv->group = 1;
    for (int i = 0; i < QD_N_AXES; i++)
        conv->window.kernel[i] = conv->window.stride[i] = conv->window.dilation[i] = 1;
    for (int i = 0; i < 2; i++) {
        conv->window.kernel[i] = axes[i].kernel;
        conv->window.pad_begin[i] = axes[i].pad_begin;
        conv->window.pad_end[i] = axes[i].pad_end;
    }
    node->op = &qd_op_conv;
    node->op_name = qd_op_conv.name;
    node->attrs = NULL;
    node->n_attrs = 0;
    node->params = conv;
    return QD_OK;
}

/* A node behind value `from` that makes value `to`. */
static enum qd_status append(struct qd_graph *graph, const struct qd_op *op, int opset, const int *inputs, int n_inputs,
                             int to, struct qd_attr *attrs, int n_attrs, struct qd_error *err)
{
    struct qd_node *node;
    enum qd_status status =
        qd_graph_add_node(graph, graph->values[to].name, op->name, op, inputs, n_inputs, &to, 1, &node, err);

    if (status != QD_OK)
        return status;
    node->opset = opset;
    node->attrs = attrs;
    node->n_attrs = n_attrs;
    status = op->parse(graph, node, err);
    return status == QD_OK ? op->infer(graph, node, err) : status;
}

static enum qd_status add_blocks(struct qd_graph *graph, int opset, int64_t stride, int from, int to,
                                 struct qd_error *err)
{
    struct qd_attr *attr = qd_arena_alloc(&graph->arena, sizeof(*attr));

    if (!attr)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    *attr = (struct qd_attr){.name = "blocksize", .kind = QD_ATTR_INT, .i = stride};
    return append(graph, &qd_op_depth_to_space, opset, &from, 1, to, attr, 1, err);
}

/* Cuts the wanted outputs out: with attributes as Slice has them before opset 10, with inputs since. */
static enum qd_status add_slice(struct qd_graph *graph, const char *node_name, int opset, const struct axis axes[2],
                                const struct qd_shape *out, int from, int to, struct qd_error *err)
{
    static const char *const names[] = {"starts", "ends", "axes"};
    const int64_t lists[3][2] = {
        {axes[0].crop, axes[1].crop}, {axes[0].crop + out->dims[2], axes[1].crop + out->dims[3]}, {2, 3}};
    const struct qd_shape shape = {.n_dims = 1, .dims = {2}};
    struct qd_attr *attrs = qd_arena_array(&graph->arena, 3, sizeof(*attrs));
    int inputs[4] = {from};

    if (!attrs)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int i = 0; i < 3; i++) {
        char base[160], name[256];
        enum qd_status status;
        void *data;

        snprintf(base, sizeof(base), "%.100s.%s", node_name, names[i]);
        status = qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_I64, &shape,
                                       lists[i], &inputs[1 + i], &data, err);
        if (status != QD_OK)
            return status;
        attrs[i] = (struct qd_attr){.name = names[i], .kind = QD_ATTR_INTS, .ints = data, .n = 2};
    }
    if (opset < 10)
        return append(graph, &qd_op_slice, opset, inputs, 1, to, attrs, 3, err);
    return append(graph, &qd_op_slice, opset, inputs, 4, to, NULL, 0, err);
}

/* The activation that alone reads the value: it can come before pixels are moved, and then goes into the convolution.
 */
static struct qd_node *activation_behind(struct qd_graph *graph, int value)
{
    struct qd_node *user = qd_graph_only_user(graph, value);
    struct qd_activation act = {0};

    return user && !graph->values[value].given && user->op->as_activation && user->op->as_activation(graph, user, &act)
               ? user
               : NULL;
}

/* What the model rounds after pixels are moved can as well be rounded before. */
static void round_like(struct qd_graph *graph, int value, int like)
{
    graph->values[value].q = graph->values[like].q;
    graph->values[value].given = graph->values[like].given;
}

static enum qd_status expand(struct qd_graph *graph, int n, struct qd_error *err)
{
    const struct qd_window window = ((const struct qd_conv_transpose_attrs *)graph->nodes[n].params)->window;
    const char *name = graph->nodes[n].name;
    int opset = graph->nodes[n].opset, last = graph->nodes[n].outputs[0], at;
    const struct qd_shape in = graph->values[graph->nodes[n].inputs[0]].shape, out = graph->values[last].shape;
    int64_t s = window.stride[0];
    struct axis axes[2] = {axis_of(&window, 0, in.dims[2], out.dims[2]), axis_of(&window, 1, in.dims[3], out.dims[3])};
    bool cuts = axes[0].crop || axes[1].crop || axes[0].blocks * s != out.dims[2] || axes[1].blocks * s != out.dims[3];
    struct qd_node *act = activation_behind(graph, last);
    enum qd_status status = become_conv(graph, &graph->nodes[n], axes, err);

    if (status != QD_OK || (s == 1 && !cuts))
        return status;
    status = add_named(graph, name, "blocks", &at, err);
    if (status != QD_OK)
        return status;
    graph->nodes[n].outputs[0] = at;
    status = qd_op_conv.infer(graph, &graph->nodes[n], err);
    if (status == QD_OK && act) {
        last = act->outputs[0];
        act->inputs[0] = at;
        status = add_named(graph, name, "active", &act->outputs[0], err);
        at = act->outputs[0];
        if (status == QD_OK)
            status = act->op->infer(graph, act, err);
    }
    if (status == QD_OK && s > 1) {
        int from = at;

        at = last;
        if (cuts)
            status = add_named(graph, name, "pixels", &at, err);
        if (status == QD_OK)
            status = add_blocks(graph, opset, s, from, at, err);
        if (status == QD_OK)
            round_like(graph, from, last);
    }
    if (status == QD_OK && cuts)
        round_like(graph, at, last);
    if (status == QD_OK && cuts)
        status = add_slice(graph, name, opset, axes, &out, at, last, err);
    return status;
}

enum qd_status qd_pass_expand_conv_transpose(struct qd_graph *graph, struct qd_error *err)
{
    int n_nodes = graph->n_nodes;
    enum qd_status status = QD_OK;

    for (int n = 0; n < n_nodes && status == QD_OK; n++)
        if (expands(graph, &graph->nodes[n]))
            status = expand(graph, n, err);
    return status;
}
