#include "op/conv.h"

#include <cblas.h>
#include <string.h>

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
    struct qd_shape out = {.n_dims = 4};
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    enum qd_status status;

    for (int i = 0; i < 3; i++) {
        status = qd_op_need_f32(graph, node, i, err);
        if (status != QD_OK)
            return status;
    }
    if (in->shape.n_dims != 4 || w->shape.n_dims != 4)
        return qd_error_set(err, QD_UNSUPPORTED, "expected an input [n,c,h,w] and weights of 4 dimensions, found %s and %s",
                            qd_shape_text(&in->shape, text), qd_shape_text(&w->shape, text2));
    if (params->group < 1 || w->shape.dims[0] % params->group || w->shape.dims[0] == 0 ||
        w->shape.dims[1] * params->group != in->shape.dims[1])
        return qd_error_set(err, QD_INVALID, "weights %s in %lld groups do not fit an input %s",
                            qd_shape_text(&w->shape, text), (long long)params->group, qd_shape_text(&in->shape, text2));
    for (int i = 0; i < 2; i++) {
        if (params->window.kernel[i] && params->window.kernel[i] != w->shape.dims[2 + i])
            return qd_error_set(err, QD_INVALID, "kernel_shape: expected the weights' %lld, found %lld",
                                (long long)w->shape.dims[2 + i], (long long)params->window.kernel[i]);
        params->window.kernel[i] = w->shape.dims[2 + i];
        if (params->window.kernel[i] < 1)
            return qd_error_set(err, QD_INVALID, "weights %s are empty", qd_shape_text(&w->shape, text));
    }
    if (bias && (bias->shape.n_dims != 1 || bias->shape.dims[0] != w->shape.dims[0]))
        return qd_error_set(err, QD_INVALID, "bias: expected [%lld], found %s", (long long)w->shape.dims[0],
                            qd_shape_text(&bias->shape, text));
    status = qd_window_infer(&params->window, &in->shape, &out.dims[2], err);
    if (status != QD_OK)
        return status;
    out.dims[0] = in->shape.dims[0];
    out.dims[1] = w->shape.dims[0];
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

static bool is_depthwise(const struct qd_shape *in, const struct qd_shape *w, int64_t group)
{
    return group == in->dims[1] && w->dims[0] == group;
}

static bool is_pointwise(const struct qd_window *window)
{
    for (int i = 0; i < 2; i++)
        if (window->kernel[i] != 1 || window->stride[i] != 1 || window->pad_begin[i] || window->pad_end[i])
            return false;
    return true;
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_conv_attrs *params = node->params;
    const struct qd_shape *w = &graph->values[node->inputs[1]].shape, *out = &graph->values[node->outputs[0]].shape;

    if (is_pointwise(&params->window))
        return 0;
    return (size_t)(w->dims[1] * w->dims[2] * w->dims[3] * out->dims[2] * out->dims[3]) * sizeof(float);
}

/* One channel's row of a column matrix: for one tap, the input under every output pixel. */
static void gather_tap(const float *in, int64_t h, int64_t w, const struct qd_window *window, int64_t ky, int64_t kx,
                       float pad, int64_t out_h, int64_t out_w, float *column)
{
    for (int64_t y = 0; y < out_h; y++) {
        int64_t iy = y * window->stride[0] - window->pad_begin[0] + ky * window->dilation[0];

        for (int64_t x = 0; x < out_w; x++) {
            int64_t ix = x * window->stride[1] - window->pad_begin[1] + kx * window->dilation[1];
            bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;

            *column++ = inside ? in[iy * w + ix] : pad;
        }
    }
}

static void depthwise_channel(const float *in, int64_t h, int64_t w, const struct qd_window *window,
                              const float *weights, float pad, float bias, int64_t out_h, int64_t out_w, float *out)
{
    for (int64_t y = 0; y < out_h; y++) {
        for (int64_t x = 0; x < out_w; x++) {
            float sum = bias;

            for (int64_t ky = 0; ky < window->kernel[0]; ky++) {
                int64_t iy = y * window->stride[0] - window->pad_begin[0] + ky * window->dilation[0];

                for (int64_t kx = 0; kx < window->kernel[1]; kx++) {
                    int64_t ix = x * window->stride[1] - window->pad_begin[1] + kx * window->dilation[1];
                    bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;

                    sum += weights[ky * window->kernel[1] + kx] * (inside ? in[iy * w + ix] : pad);
                }
            }
            out[y * out_w + x] = sum;
        }
    }
}

static void run_image(const struct qd_conv_attrs *params, const struct qd_view *in, const struct qd_shape *out_shape,
                      const float *x, float *y, float *columns)
{
    const struct qd_window *window = &params->window;
    const struct qd_shape *ws = in[1].shape;
    const float *weights = in[1].data, *bias = in[2].data;
    int64_t h = in[0].shape->dims[2], w = in[0].shape->dims[3], c_group = ws->dims[1];
    int64_t taps = ws->dims[2] * ws->dims[3], n_group = ws->dims[0] / params->group, k = c_group * taps;
    int64_t out_h = out_shape->dims[2], out_w = out_shape->dims[3], pixels = out_h * out_w;

    if (is_depthwise(in[0].shape, ws, params->group)) {
        for (int64_t c = 0; c < ws->dims[0]; c++)
            depthwise_channel(x + c * h * w, h, w, window, weights + c * taps,
                              params->pad_value ? params->pad_value[c] : 0, bias ? bias[c] : 0, out_h, out_w,
                              y + c * pixels);
        return;
    }
    for (int64_t g = 0; g < params->group; g++) {
        const float *b = x + g * c_group * h * w;
        float *out = y + g * n_group * pixels;

        if (!is_pointwise(window)) {
            for (int64_t c = 0; c < c_group; c++)
                for (int64_t t = 0; t < taps; t++)
                    gather_tap(b + c * h * w, h, w, window, t / window->kernel[1], t % window->kernel[1],
                               params->pad_value ? params->pad_value[g * c_group + c] : 0, out_h, out_w,
                               columns + (c * taps + t) * pixels);
            b = columns;
        }
        for (int64_t o = 0; o < n_group; o++)
            for (int64_t p = 0; p < pixels; p++)
                out[o * pixels + p] = bias ? bias[g * n_group + o] : 0;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n_group, (int)pixels, (int)k, 1,
                    weights + g * n_group * k, (int)k, b, (int)pixels, 1, out, (int)pixels);
    }
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out, void *scratch)
{
    int64_t n = in[0].shape->dims[0];
    int64_t in_size = qd_shape_count(in[0].shape) / n, out_size = qd_shape_count(out[0].shape) / n;
    struct qd_view views[3] = {in[0], in[1], {0}};

    if (node->n_inputs > 2)
        views[2] = in[2];
    for (int64_t i = 0; i < n; i++)
        run_image(node->params, views, out[0].shape, (const float *)in[0].data + i * in_size,
                  (float *)out[0].data + i * out_size, scratch);
}

static int64_t macs(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_shape *w = &graph->values[node->inputs[1]].shape, *out = &graph->values[node->outputs[0]].shape;

    return qd_shape_count(w) * out->dims[2] * out->dims[3];
}

static bool fuses(const struct qd_node *node, const struct qd_activation *act)
{
    (void)node;
    (void)act;
    return true;
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *w = qd_node_input(graph, node, 1), *bias = qd_node_input(graph, node, 2);

    return w->data && (!bias || bias->data) &&
           w->shape.dims[1] * w->shape.dims[2] * w->shape.dims[3] <= QD_KERNEL_MAX_K;
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
    if (!w->data || (bias && !bias->data))
        return qd_error_set(err, QD_UNSUPPORTED, "expected constant weights");
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
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_RESIDUAL | QD_OP_STEPS | QD_OP_CHANNEL_STEPS,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .fuses = fuses,
    .macs = macs,
    .layer = layer,
    .supports_q8 = supports_q8,
    .padding_q8 = padding_q8,
    .prepare_q8 = qd_conv_q8_prepare,
    .run_q8 = qd_conv_q8_run,
};
