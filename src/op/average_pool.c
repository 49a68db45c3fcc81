#include "op/ops.h"
#include "op/pool.h"

static void take(const float *x, int64_t stride, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i * stride];
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
    qd_pool_run_taps(node, in, out, 0, take);
    /* Past the end padding (ceil_mode) a tap counts in neither way. */
    for (int i = 0; i < 2; i++)
        limit[i] = in[0].shape->dims[2 + i] + (padding ? window->pad_end[i] : 0);
    for (int64_t row = 0; row < in[0].shape->dims[0] * in[0].shape->dims[1] * out_h; row++) {
        int64_t rows = qd_pool_count(window, 0, row % out_h, limit[0], padding);

        for (int64_t x = 0; x < out_w; x++)
            *y++ /= (float)(rows * qd_pool_count(window, 1, x, limit[1], padding));
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
