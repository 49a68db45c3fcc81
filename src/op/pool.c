#include "op/pool.h"

#include "op/ops.h"
#include "op/q8.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, bool global, struct qd_error *err)
{
    struct qd_pool_attrs *attrs = qd_arena_alloc(&graph->arena, sizeof(*attrs));
    enum qd_status status;

    if (!attrs)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = attrs;
    attrs->global = global;
    status = qd_window_parse(node, &attrs->window, err);
    if (status == QD_OK && !global && !attrs->window.kernel[0])
        return qd_error_set(err, QD_INVALID, "kernel_shape: expected a value per axis, found none");
    if (status == QD_OK)
        status = qd_node_attr_int(node, "count_include_pad", 0, &attrs->count_include_pad, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "storage_order", 0, &attrs->storage_order, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "p", 2, &attrs->p, err);
    if (status == QD_OK && attrs->p < 1)
        return qd_error_set(err, QD_INVALID, "p: expected 1 or more, found %lld", (long long)attrs->p);
    return status;
}

enum qd_status qd_pool_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    return parse(graph, node, false, err);
}

enum qd_status qd_pool_parse_global(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    return parse(graph, node, true, err);
}

enum qd_status qd_pool_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_pool_attrs *attrs = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    enum qd_status status;

    for (int i = 0; i < QD_N_AXES && attrs->global && in->shape.n_dims > 2; i++)
        attrs->window.kernel[i] = qd_axis_size(&in->shape, (enum qd_axis)i);
    status = qd_window_infer(&attrs->window, &in->shape, &out, err);
    if (status == QD_OK)
        status = qd_op_set_output(graph, node, 0, in->dtype, &out, err);
    if (status != QD_OK)
        return status;
    return qd_op_set_output(graph, node, 1, QD_I64, &out, err);
}

/* Loops apart, so that the usual ones become vectors. One tap under n neighbouring outputs. */
static void add_taps(const float *x, int64_t stride, float *y, int64_t n)
{
    if (stride == 1)
        for (int64_t i = 0; i < n; i++)
            y[i] += x[i];
    else if (stride == 2)
        for (int64_t i = 0; i < n; i++)
            y[i] += x[i * 2];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] += x[i * stride];
}

/* One row of the window under one row of outputs. in: that row of the input. */
static void add_row(const struct qd_window *window, const float *in, int64_t w, float *out, int64_t out_w)
{
    int64_t stride = window->stride[QD_AXIS_W];

    for (int64_t kx = 0; kx < window->kernel[QD_AXIS_W]; kx++) {
        int64_t at = kx * window->dilation[QD_AXIS_W] - window->pad_begin[QD_AXIS_W];
        int64_t begin = qd_divide_up(-at, stride), end = qd_divide_up(w - at, stride);

        end = end < out_w ? end : out_w;
        if (begin < end)
            add_taps(in + begin * stride + at, stride, out + begin, end - begin);
    }
}

/* Where tap k under output i of an axis lies in the input; may be outside. */
static int64_t tap_at(const struct qd_window *window, enum qd_axis axis, int64_t i, int64_t k)
{
    return i * window->stride[axis] - window->pad_begin[axis] + k * window->dilation[axis];
}

void qd_pool_sum(const struct qd_window *window, const struct qd_shape *in, const float *x, const struct qd_shape *out,
                 float *y)
{
    int64_t d = qd_axis_size(in, QD_AXIS_D), h = qd_axis_size(in, QD_AXIS_H), w = qd_axis_size(in, QD_AXIS_W);
    int64_t out_d = qd_axis_size(out, QD_AXIS_D), out_h = qd_axis_size(out, QD_AXIS_H);
    int64_t out_w = qd_axis_size(out, QD_AXIS_W), n_rows = in->dims[0] * in->dims[1] * out_d * out_h;

    for (int64_t row = 0; row < n_rows; row++, y += out_w) {
        const float *picture = x + row / out_h / out_d * d * h * w;

        for (int64_t i = 0; i < out_w; i++)
            y[i] = 0;
        for (int64_t kz = 0; kz < window->kernel[QD_AXIS_D]; kz++) {
            int64_t z = tap_at(window, QD_AXIS_D, row / out_h % out_d, kz);

            for (int64_t ky = 0; ky < window->kernel[QD_AXIS_H] && z >= 0 && z < d; ky++) {
                int64_t at = tap_at(window, QD_AXIS_H, row % out_h, ky);

                if (at >= 0 && at < h)
                    add_row(window, picture + (z * h + at) * w, w, y, out_w);
            }
        }
    }
}

bool qd_pool_supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_window *window = &((const struct qd_pool_attrs *)node->params)->window;
    const struct qd_value *in = qd_node_input(graph, node, 0);

    for (int i = 0; i < 2; i++)
        if (window->pad_begin[i] >= window->kernel[i] || window->pad_end[i] >= window->kernel[i] ||
            window->dilation[i] != 1)
            return false;
    return in->shape.n_dims == 4 && in->dtype == QD_F32;
}

struct pool_q8 {
    struct qd_pool_params params;
    void (*kernel)(const struct qd_pool_params *params);
};

enum qd_status qd_pool_prepare_q8(struct qd_q8_prepare *prepare, bool average, struct qd_error *err)
{
    const struct qd_pool_attrs *attrs = prepare->node->params;
    const struct qd_window *window = &attrs->window;
    const struct qd_shape *in = &prepare->graph->values[prepare->node->inputs[0]].shape;
    const struct qd_shape *out = &prepare->graph->values[prepare->node->outputs[0]].shape;
    struct qd_qparams q_in = qd_q8_input(prepare, 0), q_out = qd_q8_output(prepare);
    struct pool_q8 *pool = qd_arena_alloc(prepare->arena, sizeof(*pool));

    if (!pool)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pool");
    pool->params = (struct qd_pool_params){
        .in_steps = prepare->in_steps[0],
        .out_steps = prepare->out_steps[0],
        .h = (int)in->dims[2],
        .w = (int)in->dims[3],
        .c = (int)in->dims[1],
        .out_h = (int)out->dims[2],
        .out_w = (int)out->dims[3],
        .kernel_h = (int)window->kernel[0],
        .kernel_w = (int)window->kernel[1],
        .stride_h = (int)window->stride[0],
        .stride_w = (int)window->stride[1],
        .dilation_h = (int)window->dilation[0],
        .dilation_w = (int)window->dilation[1],
        .pad_top = (int)window->pad_begin[0],
        .pad_left = (int)window->pad_begin[1],
        .in_zero = q_in.zero_point,
        .divisor_all = attrs->count_include_pad ? (int)(window->kernel[0] * window->kernel[1]) : 0,
        .mult = qd_q8_multiplier(prepare->graph, (double)q_in.scale / (double)q_out.scale),
        .out_zero = (float)q_out.zero_point,
        .clamp_min = 0,
        .clamp_max = (uint8_t)qd_q8_max(q_out),
    };
    pool->kernel = average ? prepare->kernels->average_pool : prepare->kernels->max_pool;
    prepare->prepared = pool;
    return QD_OK;
}

void qd_pool_run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct pool_q8 *pool = run->prepared;
    struct qd_pool_params params = pool->params;
    int64_t begin, end;

    qd_share((int64_t)run->n_images * params.out_h, thread, n_threads, &begin, &end);
    while (begin < end) {
        int64_t image = begin / params.out_h, rows;

        params.y_begin = (int)(begin % params.out_h);
        rows = end - begin < params.out_h - params.y_begin ? end - begin : params.out_h - params.y_begin;
        params.y_end = params.y_begin + (int)rows;
        params.in = run->inputs[0] + (size_t)image * run->input_pitch[0];
        params.out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0];
        pool->kernel(&params);
        begin += rows;
    }
}
