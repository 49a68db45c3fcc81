#include "op/ops.h"
#include "op/pool.h"

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

static int64_t divide_up(int64_t a, int64_t b)
{
    return a <= 0 ? 0 : (a + b - 1) / b;
}

/* The taps of an axis (0: rows) under output i that lie before limit, and, unless from_padding, not before 0. */
static int64_t count_taps(const struct qd_window *window, int axis, int64_t i, int64_t limit, bool from_padding)
{
    int64_t at = i * window->stride[axis] - window->pad_begin[axis], dilation = window->dilation[axis];
    int64_t begin = from_padding ? 0 : divide_up(-at, dilation), end = divide_up(limit - at, dilation);

    end = end < window->kernel[axis] ? end : window->kernel[axis];
    return end > begin ? end - begin : 0;
}

/* One row of the window under one row of outputs. in: that row of the input. */
static void add_row(const struct qd_window *window, const float *in, int64_t w, float *out, int64_t out_w)
{
    int64_t stride = window->stride[1];

    for (int64_t kx = 0; kx < window->kernel[1]; kx++) {
        int64_t at = kx * window->dilation[1] - window->pad_begin[1], begin = divide_up(-at, stride);
        int64_t end = divide_up(w - at, stride);

        end = end < out_w ? end : out_w;
        if (begin < end)
            add_taps(in + begin * stride + at, stride, out + begin, end - begin);
    }
}

static void add_windows(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out)
{
    const struct qd_window *window = &((const struct qd_pool_attrs *)node->params)->window;
    int64_t planes = in[0].shape->dims[0] * in[0].shape->dims[1], h = in[0].shape->dims[2], w = in[0].shape->dims[3];
    int64_t out_h = out[0].shape->dims[2], out_w = out[0].shape->dims[3];
    float *y = out[0].data;

    for (int64_t row = 0; row < planes * out_h; row++, y += out_w) {
        const float *x = (const float *)in[0].data + row / out_h * h * w;

        for (int64_t i = 0; i < out_w; i++)
            y[i] = 0;
        for (int64_t ky = 0; ky < window->kernel[0]; ky++) {
            int64_t iy = row % out_h * window->stride[0] - window->pad_begin[0] + ky * window->dilation[0];

            if (iy >= 0 && iy < h)
                add_row(window, x + iy * w, w, y, out_w);
        }
    }
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_pool_attrs *attrs = node->params;
    const struct qd_window *window = &attrs->window;
    int64_t out_h = out[0].shape->dims[2], out_w = out[0].shape->dims[3], limit[2];
    bool padding = attrs->count_include_pad != 0;
    float *y = out[0].data;

    (void)run;
    add_windows(node, in, out);
    /* Past the end padding (ceil_mode) a tap counts in neither way. */
    for (int i = 0; i < 2; i++)
        limit[i] = in[0].shape->dims[2 + i] + (padding ? window->pad_end[i] : 0);
    for (int64_t row = 0; row < in[0].shape->dims[0] * in[0].shape->dims[1] * out_h; row++) {
        int64_t rows = count_taps(window, 0, row % out_h, limit[0], padding);

        for (int64_t x = 0; x < out_w; x++)
            *y++ /= (float)(rows * count_taps(window, 1, x, limit[1], padding));
    }
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_pool_attrs *attrs = node->params;
    const struct qd_window *window = &attrs->window;

    (void)graph;
    for (int i = 0; i < 2; i++)
        if (window->pad_begin[i] >= window->kernel[i] || window->pad_end[i] >= window->kernel[i] ||
            window->dilation[i] != 1)
            return false;
    /* The kernel divides by one number; windows past the padding would need another. */
    return !(attrs->count_include_pad && window->ceil_mode);
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_pool_prepare_q8(prepare, true, err);
}

const struct qd_op qd_op_average_pool = {
    .name = "AveragePool",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_STEPS,
    .parse = qd_pool_parse,
    .infer = qd_pool_infer,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_pool_run_q8,
};
