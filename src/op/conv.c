#include "op/conv.h"

#include <string.h>

#include "op/conv_f32.h"
#include "op/conv_q8.h"
#include "op/ops.h"
#include "op/window.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_conv_attrs *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_window_parse(node, &params->window, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "group", 1, &params->group, err);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_conv_attrs *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *w = qd_node_input(graph, node, 1);
    const struct qd_value *bias = qd_node_input(graph, node, 2);
    struct qd_shape out = {0};
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    enum qd_status status;

    for (int i = 0; i < 3; i++) {
        status = qd_op_need_f32(graph, node, i, err);
        if (status != QD_OK)
            return status;
    }
    if (in->shape.n_dims < 3 || in->shape.n_dims > 5 || w->shape.n_dims != in->shape.n_dims)
        return qd_error_set(err, in->shape.n_dims > 5 ? QD_UNSUPPORTED : QD_INVALID,
                            "expected an input of 3 to 5 dimensions and weights of as many, found %s and %s",
                            qd_shape_text(&in->shape, text), qd_shape_text(&w->shape, text2));
    if (params->group < 1 || w->shape.dims[0] % params->group || w->shape.dims[0] == 0 ||
        w->shape.dims[1] * params->group != in->shape.dims[1])
        return qd_error_set(err, QD_INVALID, "weights %s in %lld groups do not fit an input %s",
                            qd_shape_text(&w->shape, text), (long long)params->group, qd_shape_text(&in->shape, text2));
    for (int i = 0; i < QD_N_AXES; i++) {
        int64_t size = qd_axis_size(&w->shape, (enum qd_axis)i);

        if (params->window.kernel[i] && params->window.kernel[i] != size)
            return qd_error_set(err, QD_INVALID, "kernel_shape: expected the weights' %lld, found %lld",
                                (long long)size, (long long)params->window.kernel[i]);
        params->window.kernel[i] = size;
        if (params->window.kernel[i] < 1)
            return qd_error_set(err, QD_INVALID, "weights %s are empty", qd_shape_text(&w->shape, text));
    }
    if (bias && (bias->shape.n_dims != 1 || bias->shape.dims[0] != w->shape.dims[0]))
        return qd_error_set(err, QD_INVALID, "bias: expected [%lld], found %s", (long long)w->shape.dims[0],
                            qd_shape_text(&bias->shape, text));
    status = qd_window_infer(&params->window, &in->shape, &out, err);
    if (status != QD_OK)
        return status;
    out.dims[0] = in->shape.dims[0];
    out.dims[1] = w->shape.dims[0];
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

bool qd_conv_is_depthwise(const struct qd_shape *in, const struct qd_shape *w, int64_t group)
{
    return group == in->dims[1] && w->dims[0] == group && in->n_dims < 5;
}

struct qd_conv_f32_params qd_conv_f32_params_of(const struct qd_conv_attrs *attrs, const struct qd_shape *in,
                                                const struct qd_shape *w, const struct qd_shape *out)
{
    return (struct qd_conv_f32_params){
        .c = (int)(qd_conv_is_depthwise(in, w, attrs->group) ? in->dims[1]
                                                             : w->dims[1] * attrs->window.kernel[QD_AXIS_D]),
        .h = (int)qd_axis_size(in, QD_AXIS_H),
        .w = (int)qd_axis_size(in, QD_AXIS_W),
        .window = qd_window_f32_of(&attrs->window),
        .pad = attrs->pad_value,
        .n = (int)(qd_conv_is_depthwise(in, w, attrs->group) ? in->dims[1] : w->dims[0] / attrs->group),
        .out_h = (int)qd_axis_size(out, QD_AXIS_H),
        .out_w = (int)qd_axis_size(out, QD_AXIS_W),
    };
}

/* Floats of one depth of the output, and of what lies under it, each in whole cache lines. */
static size_t deep_out(const struct qd_conv_f32_params *p)
{
    return ((size_t)p->n * (size_t)p->out_h * (size_t)p->out_w + 15) / 16 * 16;
}

static size_t deep_in(const struct qd_conv_f32_params *p)
{
    return ((size_t)p->c * (size_t)p->h * (size_t)p->w + 15) / 16 * 16;
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_conv_attrs *attrs = node->params;
    const struct qd_shape *in = &graph->values[node->inputs[0]].shape, *w = &graph->values[node->inputs[1]].shape;
    struct qd_conv_f32_params params = qd_conv_f32_params_of(attrs, in, w, &graph->values[node->outputs[0]].shape);

    if (qd_conv_is_depthwise(in, w, attrs->group))
        return qd_depthwise_f32_scratch(&params);
    return qd_conv_f32_scratch(&params) + (in->n_dims == 5 ? deep_in(&params) + deep_out(&params) : 0) * sizeof(float);
}

/* A window that is the whole input, as in squeeze-and-excite: a fully connected layer. */
static bool is_layer(const struct qd_conv_f32_params *p)
{
    return p->out_h == 1 && p->out_w == 1 && !p->window.pad_top && !p->window.pad_left && p->window.kernel_h == p->h &&
           p->window.kernel_w == p->w;
}

static void run_group(const struct qd_kernels_f32 *kernels, const struct qd_conv_f32_params *p)
{
    struct qd_matvec_f32_params layer = {p->weights, p->in, p->bias, p->out, p->n, p->c * p->h * p->w};

    if (!is_layer(p)) {
        kernels->conv(p);
        return;
    }
    kernels->matvec(&layer);
    if (p->act)
        kernels->activate(p->act, p->residual, p->out, (size_t)p->n);
}

/* The planes under depth z of the output, channel by channel and tap by tap, as the weights lie. */
static void gather_depth(const struct qd_window *window, const float *in, int64_t depth, int64_t plane, int64_t z,
                         int64_t n, float *to)
{
    for (int64_t i = 0; i < n; i++, to += plane) {
        int64_t c = i / window->kernel[QD_AXIS_D], tap = i % window->kernel[QD_AXIS_D];
        int64_t at = z * window->stride[QD_AXIS_D] - window->pad_begin[QD_AXIS_D] + tap * window->dilation[QD_AXIS_D];

        if (at >= 0 && at < depth)
            memcpy(to, in + (c * depth + at) * plane, (size_t)plane * sizeof(float));
        else
            memset(to, 0, (size_t)plane * sizeof(float));
    }
}

/* One group of one image with depth: a convolution over height and width for each depth of the output. */
static void run_deep(const struct qd_kernels_f32 *kernels, const struct qd_window *window,
                     const struct qd_conv_f32_params *group, int64_t depth, int64_t out_depth)
{
    struct qd_conv_f32_params p = *group;
    int64_t plane = (int64_t)p.out_h * p.out_w;
    float *planes = group->scratch;

    p.in = planes;
    p.out = planes + deep_in(group);
    p.scratch = p.out + deep_out(group);
    p.act = NULL;
    p.residual = NULL;
    for (int64_t z = 0; z < out_depth; z++) {
        gather_depth(window, group->in, depth, (int64_t)p.h * p.w, z, p.c, planes);
        run_group(kernels, &p);
        for (int64_t o = 0; o < p.n; o++)
            memcpy(group->out + (o * out_depth + z) * plane, p.out + o * plane, (size_t)plane * sizeof(float));
    }
    if (group->act)
        kernels->activate(group->act, group->residual, group->out, (size_t)(p.n * out_depth * plane));
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_conv_attrs *attrs = node->params;
    struct qd_conv_f32_params first = qd_conv_f32_params_of(attrs, in[0].shape, in[1].shape, out[0].shape);
    int64_t n_images = in[0].shape->dims[0], groups = attrs->group;
    int64_t depth = qd_axis_size(in[0].shape, QD_AXIS_D), out_depth = qd_axis_size(out[0].shape, QD_AXIS_D);
    int64_t taps = attrs->window.kernel[QD_AXIS_D];
    bool depthwise = qd_conv_is_depthwise(in[0].shape, in[1].shape, groups);
    const float *residual = node->residual >= 0 ? in[node->residual].data : NULL;

    first.act = residual || node->act.kind != QD_ACT_NONE ? &node->act : NULL;
    groups = depthwise ? 1 : groups;
    first.scratch = run->scratch;
    for (int64_t i = 0; i < n_images * groups; i++) {
        struct qd_conv_f32_params p = first;
        int64_t g = i % groups;

        p.in = (const float *)in[0].data + i * (p.c / taps) * depth * p.h * p.w;
        p.out = (float *)out[0].data + i * p.n * out_depth * p.out_h * p.out_w;
        p.weights = (const float *)in[1].data + g * p.n * p.c * p.window.kernel_h * p.window.kernel_w;
        p.bias = node->n_inputs > 2 && in[2].data ? (const float *)in[2].data + g * p.n : NULL;
        p.residual = residual ? residual + (p.out - (float *)out[0].data) : NULL;
        p.pad = first.pad ? first.pad + g * p.c : NULL;
        if (depthwise)
            run->kernels->f32->depthwise(&p);
        else if (in[0].shape->n_dims == 5)
            run_deep(run->kernels->f32, &attrs->window, &p, depth, out_depth);
        else
            run_group(run->kernels->f32, &p);
    }
}

static int64_t macs(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_shape *w = &graph->values[node->inputs[1]].shape, *out = &graph->values[node->outputs[0]].shape;

    return qd_shape_count(w) * qd_axis_size(out, QD_AXIS_D) * qd_axis_size(out, QD_AXIS_H) *
           qd_axis_size(out, QD_AXIS_W);
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *w = qd_node_input(graph, node, 1), *bias = qd_node_input(graph, node, 2);

    return w->shape.n_dims == 4 && w->data && (!bias || bias->data) &&
           w->shape.dims[1] * w->shape.dims[2] * w->shape.dims[3] <= QD_KERNEL_MAX_K;
}

/* The multipliers take them up; a residual has one for all. */
static bool channel_steps(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    (void)graph;
    return i == 0 || (i == QD_STEPS_OF_OUTPUT && node->residual < 0);
}

static void padding_q8(const struct qd_graph *graph, const struct qd_node *node, struct qd_q8_padding *ret)
{
    const struct qd_conv_attrs *params = node->params;
    const struct qd_window *window = &params->window;

    (void)graph;
    ret->top = (int)window->pad_begin[0];
    ret->left = (int)window->pad_begin[1];
    ret->bottom = (int)window->pad_end[0];
    ret->right = (int)window->pad_end[1];
    ret->value = params->pad_value;
}

static enum qd_status layer(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                            struct qd_layer *ret, struct qd_error *err)
{
    const struct qd_conv_attrs *params = node->params;
    const struct qd_value *w = qd_node_input(graph, node, 1), *bias = qd_node_input(graph, node, 2);
    const struct qd_shape *in = &graph->values[node->inputs[0]].shape;
    const struct qd_shape *out = &graph->values[node->outputs[0]].shape;

    (void)arena;
    if (w->shape.n_dims != 4 || !w->data || (bias && !bias->data))
        return qd_error_set(err, QD_UNSUPPORTED, "expected constant weights [n,c,h,w]");
    *ret = (struct qd_layer){
        .window = params->window,
        .group = (int)params->group,
        .c = (int)in->dims[1],
        .h = (int)in->dims[2],
        .w = (int)in->dims[3],
        .out_h = (int)out->dims[2],
        .out_w = (int)out->dims[3],
        .n = (int)w->shape.dims[0],
        .weights = w->data,
        .bias = bias ? bias->data : NULL,
        .padded_with_values = params->pad_value != NULL,
    };

    return QD_OK;
}

const struct qd_op qd_op_conv = {
    .name = "Conv",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 3,
    .limits = "int8: [1,c,h,w] and constant weights",
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_RESIDUAL | QD_OP_STEPS | QD_OP_FINISHES_F32,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .blocks = &qd_conv_blocks,
    .fuses = qd_conv_q8_fuses,
    .macs = macs,
    .layer = layer,
    .supports_q8 = supports_q8,
    .channel_steps = channel_steps,
    .padding_q8 = padding_q8,
    .prepare_q8 = qd_conv_q8_prepare,
    .run_q8 = qd_conv_q8_run,
};
