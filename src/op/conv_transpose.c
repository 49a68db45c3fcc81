#include "op/conv_transpose.h"

#include <string.h>

#include "op/ops.h"
#include "op/window.h"

/* Floats of a block of products: few enough to stay in a cache. */
#define BLOCK_FLOATS (1 << 20)

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_conv_transpose_attrs *attrs = qd_arena_alloc(&graph->arena, sizeof(*attrs));
    enum qd_status status;

    if (!attrs)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = attrs;
    status = qd_window_parse(node, &attrs->window, err);
    if (status == QD_OK)
        status = qd_window_read(node, "output_padding", 0, &attrs->window, attrs->output_padding, NULL, err);
    if (status == QD_OK)
        status = qd_window_read(node, "output_shape", 1, &attrs->window, attrs->output_shape, NULL, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "group", 1, &attrs->group, err);
    return status;
}

/* Pads from a wanted size, or a size from pads. */
static int64_t infer_axis(struct qd_conv_transpose_attrs *attrs, enum qd_axis i, int64_t size)
{
    struct qd_window *window = &attrs->window;
    bool same = window->auto_pad == QD_PAD_SAME_UPPER || window->auto_pad == QD_PAD_SAME_LOWER;
    int64_t whole =
        window->stride[i] * (size - 1) + attrs->output_padding[i] + (window->kernel[i] - 1) * window->dilation[i] + 1;
    int64_t wanted = attrs->output_shape[i] ? attrs->output_shape[i] : same ? size * window->stride[i] : 0;

    if (!wanted)
        return whole - window->pad_begin[i] - window->pad_end[i];
    qd_window_spread(window, i, whole - wanted);
    /* The odd one is in front unless the attribute says otherwise. */
    if (window->auto_pad != QD_PAD_SAME_UPPER && window->auto_pad != QD_PAD_SAME_LOWER) {
        int64_t end = window->pad_begin[i];

        window->pad_begin[i] = window->pad_end[i];
        window->pad_end[i] = end;
    }
    return wanted;
}

static enum qd_status check_shapes(const struct qd_conv_transpose_attrs *attrs, const struct qd_value *in,
                                   const struct qd_value *w, const struct qd_value *bias, struct qd_error *err)
{
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];

    if (in->shape.n_dims < 3 || in->shape.n_dims > 5 || w->shape.n_dims != in->shape.n_dims)
        return qd_error_set(err, in->shape.n_dims > 5 ? QD_UNSUPPORTED : QD_INVALID,
                            "expected an input of 3 to 5 dimensions and weights of as many, found %s and %s",
                            qd_shape_text(&in->shape, text), qd_shape_text(&w->shape, text2));
    if (attrs->window.n_axes && attrs->window.n_axes != in->shape.n_dims - 2)
        return qd_error_set(err, QD_INVALID, "expected a window of %d axes over an input %s, found one of %d",
                            in->shape.n_dims - 2, qd_shape_text(&in->shape, text), attrs->window.n_axes);
    if (attrs->group < 1 || in->shape.dims[1] % attrs->group || w->shape.dims[0] != in->shape.dims[1] ||
        qd_shape_count(&w->shape) < 1)
        return qd_error_set(err, QD_INVALID, "weights %s in %lld groups do not fit an input %s",
                            qd_shape_text(&w->shape, text), (long long)attrs->group, qd_shape_text(&in->shape, text2));
    if (bias && (bias->shape.n_dims != 1 || bias->shape.dims[0] / attrs->group != w->shape.dims[1] ||
                 bias->shape.dims[0] % attrs->group))
        return qd_error_set(err, QD_INVALID, "bias: expected [%lld], found %s",
                            (long long)(w->shape.dims[1] * attrs->group), qd_shape_text(&bias->shape, text));
    return QD_OK;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_conv_transpose_attrs *attrs = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *w = qd_node_input(graph, node, 1);
    struct qd_shape out = in->shape;
    enum qd_status status = QD_OK;

    for (int i = 0; i < 3 && status == QD_OK; i++)
        status = qd_op_need_f32(graph, node, i, err);
    if (status == QD_OK)
        status = check_shapes(attrs, in, w, qd_node_input(graph, node, 2), err);
    if (status != QD_OK)
        return status;
    out.dims[1] = w->shape.dims[1] * attrs->group;
    for (int i = 0; i < QD_N_AXES; i++) {
        enum qd_axis axis = (enum qd_axis)i;
        int64_t size = qd_axis_size(&w->shape, axis);

        if (attrs->window.kernel[i] && attrs->window.kernel[i] != size)
            return qd_error_set(err, QD_INVALID, "kernel_shape: expected the weights' %lld, found %lld",
                                (long long)size, (long long)attrs->window.kernel[i]);
        attrs->window.kernel[i] = size;
        if (qd_axis_dim(out.n_dims, axis) < 0)
            continue;
        size = infer_axis(attrs, axis, qd_axis_size(&in->shape, axis));
        if (size < 1)
            return qd_error_set(err, QD_INVALID, "pads leave %lld of an axis of the output", (long long)size);
        out.dims[qd_axis_dim(out.n_dims, axis)] = size;
    }
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

static int64_t count_taps(const struct qd_window *window)
{
    return window->kernel[QD_AXIS_D] * window->kernel[QD_AXIS_H] * window->kernel[QD_AXIS_W];
}

/*
 * The products of a block of outputs, all their taps, with one group of one image: a matrix product, for which the
 * weights are turned. Only sizes.
 */
static struct qd_conv_f32_params params_of(const struct qd_conv_transpose_attrs *attrs, const struct qd_shape *in,
                                           const struct qd_shape *w)
{
    int64_t pixels = qd_axis_size(in, QD_AXIS_D) * qd_axis_size(in, QD_AXIS_H) * qd_axis_size(in, QD_AXIS_W);
    int64_t taps = count_taps(&attrs->window), n = pixels ? BLOCK_FLOATS / (taps * pixels) : 1;

    n = n < 1 ? 1 : n > w->dims[1] ? w->dims[1] : n;
    return (struct qd_conv_f32_params){
        .c = (int)(in->dims[1] / attrs->group),
        .h = 1,
        .w = (int)pixels,
        .window = {1, 1, 1, 1, 1, 1, 0, 0},
        .n = (int)(n * taps),
        .out_h = 1,
        .out_w = (int)pixels,
    };
}

static size_t in_lines(size_t n_floats)
{
    return (n_floats + 15) / 16 * 16;
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    struct qd_conv_f32_params p =
        params_of(node->params, &graph->values[node->inputs[0]].shape, &graph->values[node->inputs[1]].shape);

    return (in_lines((size_t)p.n * (size_t)p.c) + in_lines((size_t)p.n * (size_t)p.out_w)) * sizeof(float) +
           qd_conv_f32_scratch(&p);
}

/* Which pixels i of an axis have tap k inside the output: [*ret_begin, *ret_end). */
static void inside(const struct qd_window *window, enum qd_axis axis, int64_t k, int64_t size, int64_t out,
                   int64_t *ret_begin, int64_t *ret_end)
{
    int64_t at = k * window->dilation[axis] - window->pad_begin[axis], stride = window->stride[axis];
    int64_t end = qd_divide_up(out - at, stride);

    *ret_begin = qd_divide_up(-at, stride);
    *ret_end = end < size ? end : size;
}

static void add_strided(const float *x, float *y, int64_t stride, int64_t n)
{
    if (stride == 1)
        for (int64_t i = 0; i < n; i++)
            y[i] += x[i];
    else if (stride == 2)
        for (int64_t i = 0; i < n; i++)
            y[2 * i] += x[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[stride * i] += x[i];
}

/* The products of one tap with all pixels go where the tap puts them in one channel of the output. */
static void add_tap(const struct qd_window *window, int64_t tap, const struct qd_shape *in, const float *products,
                    const struct qd_shape *out, float *y)
{
    int64_t k[QD_N_AXES] = {tap / window->kernel[QD_AXIS_W] % window->kernel[QD_AXIS_H],
                            tap % window->kernel[QD_AXIS_W],
                            tap / window->kernel[QD_AXIS_W] / window->kernel[QD_AXIS_H]};
    int64_t begin[QD_N_AXES], end[QD_N_AXES], first[QD_N_AXES];
    int64_t h = qd_axis_size(in, QD_AXIS_H), w = qd_axis_size(in, QD_AXIS_W);
    int64_t out_h = qd_axis_size(out, QD_AXIS_H), out_w = qd_axis_size(out, QD_AXIS_W);

    for (int i = 0; i < QD_N_AXES; i++) {
        inside(window, (enum qd_axis)i, k[i], qd_axis_size(in, (enum qd_axis)i), qd_axis_size(out, (enum qd_axis)i),
               &begin[i], &end[i]);
        first[i] = k[i] * window->dilation[i] - window->pad_begin[i];
    }
    if (begin[QD_AXIS_W] >= end[QD_AXIS_W])
        return;
    for (int64_t z = begin[QD_AXIS_D]; z < end[QD_AXIS_D]; z++) {
        for (int64_t i = begin[QD_AXIS_H]; i < end[QD_AXIS_H]; i++) {
            int64_t to_z = first[QD_AXIS_D] + z * window->stride[QD_AXIS_D];
            int64_t to_y = first[QD_AXIS_H] + i * window->stride[QD_AXIS_H];
            int64_t to_x = first[QD_AXIS_W] + begin[QD_AXIS_W] * window->stride[QD_AXIS_W];

            add_strided(products + (z * h + i) * w + begin[QD_AXIS_W], y + (to_z * out_h + to_y) * out_w + to_x,
                        window->stride[QD_AXIS_W], end[QD_AXIS_W] - begin[QD_AXIS_W]);
        }
    }
}

/* Outputs [begin, begin + n) of a group: weights and out are the group's. */
static void run_block(const struct qd_node *node, const struct qd_kernels_f32 *kernels,
                      const struct qd_conv_f32_params *group, int64_t begin, int64_t n, const struct qd_shape *in,
                      const struct qd_shape *w, const struct qd_shape *out)
{
    const struct qd_conv_transpose_attrs *attrs = node->params;
    int64_t taps = count_taps(&attrs->window), row = w->dims[1] * taps, pixels = qd_shape_count(out);
    struct qd_conv_f32_params p = *group;
    float *turned = group->scratch, *products = turned + in_lines((size_t)p.n * (size_t)p.c);

    pixels /= out->dims[0] * out->dims[1];
    p.scratch = products + in_lines((size_t)p.n * (size_t)p.out_w);
    p.n = (int)(n * taps);
    for (int64_t o = 0; o < p.n; o++)
        for (int64_t c = 0; c < p.c; c++)
            turned[o * p.c + c] = group->weights[c * row + begin * taps + o];
    p.weights = turned;
    p.bias = NULL;
    p.out = products;
    kernels->conv(&p);
    for (int64_t o = 0; o < n; o++) {
        float *y = group->out + (begin + o) * pixels;

        for (int64_t i = 0; i < pixels; i++)
            y[i] = group->bias ? group->bias[begin + o] : 0;
        for (int64_t t = 0; t < taps; t++)
            add_tap(&attrs->window, t, in, products + (o * taps + t) * p.out_w, out, y);
    }
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_conv_transpose_attrs *attrs = node->params;
    struct qd_conv_f32_params p = params_of(attrs, in[0].shape, in[1].shape);
    int64_t n_images = in[0].shape->dims[0], n_group = in[1].shape->dims[1], taps = count_taps(&attrs->window);
    int64_t block = p.n / taps;
    const float *bias = node->n_inputs > 2 ? in[2].data : NULL;

    p.scratch = run->scratch;
    for (int64_t i = 0; i < n_images * attrs->group && p.w; i++) {
        int64_t g = i % attrs->group;

        p.in = (const float *)in[0].data + i * p.c * p.w;
        p.weights = (const float *)in[1].data + g * p.c * n_group * taps;
        p.bias = bias ? bias + g * n_group : NULL;
        p.out =
            (float *)out[0].data + i * n_group * (qd_shape_count(out[0].shape) / (n_images * out[0].shape->dims[1]));
        for (int64_t begin = 0; begin < n_group; begin += block)
            run_block(node, run->kernels->f32, &p, begin, n_group - begin < block ? n_group - begin : block,
                      in[0].shape, in[1].shape, out[0].shape);
    }
}

static int64_t macs(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_shape *in = &graph->values[node->inputs[0]].shape, *w = &graph->values[node->inputs[1]].shape;

    return qd_shape_count(in) ? qd_shape_count(w) * (qd_shape_count(in) / (in->dims[0] * in->dims[1])) : 0;
}

const struct qd_op qd_op_conv_transpose = {
    .name = "ConvTranspose",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 3,
    .n_outputs = 1,
    .limits = "int8: [1,c,h,w] in one group, square strides, without dilations (as a convolution)",
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .macs = macs,
};
