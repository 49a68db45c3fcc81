#include "op/ops.h"
#include "op/pool.h"

/* The taps of an axis under output i that lie before limit, and, unless from_padding, not before 0. */
static int64_t count_taps(const struct qd_window *window, enum qd_axis axis, int64_t i, int64_t limit,
                          bool from_padding)
{
    int64_t at = i * window->stride[axis] - window->pad_begin[axis], dilation = window->dilation[axis];
    int64_t begin = from_padding ? 0 : qd_divide_up(-at, dilation), end = qd_divide_up(limit - at, dilation);

    end = end < window->kernel[axis] ? end : window->kernel[axis];
    return end > begin ? end - begin : 0;
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_pool_attrs *attrs = node->params;
    const struct qd_window *window = &attrs->window;
    int64_t out_d = qd_axis_size(out[0].shape, QD_AXIS_D), out_h = qd_axis_size(out[0].shape, QD_AXIS_H);
    int64_t out_w = qd_axis_size(out[0].shape, QD_AXIS_W), limit[QD_N_AXES];
    bool padding = attrs->count_include_pad != 0;
    float *y = out[0].data;

    (void)run;
    qd_pool_sum(window, in[0].shape, in[0].data, out[0].shape, y);
    /* Past the end padding (ceil_mode) a tap counts in neither way. */
    for (int i = 0; i < QD_N_AXES; i++)
        limit[i] = qd_axis_size(in[0].shape, (enum qd_axis)i) + (padding ? window->pad_end[i] : 0);
    for (int64_t row = 0; row < in[0].shape->dims[0] * in[0].shape->dims[1] * out_d * out_h; row++) {
        int64_t rows = count_taps(window, QD_AXIS_H, row % out_h, limit[QD_AXIS_H], padding) *
                       count_taps(window, QD_AXIS_D, row / out_h % out_d, limit[QD_AXIS_D], padding);

        for (int64_t x = 0; x < out_w; x++)
            *y++ /= (float)(rows * count_taps(window, QD_AXIS_W, x, limit[QD_AXIS_W], padding));
    }
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    return status == QD_OK ? qd_pool_infer(graph, node, err) : status;
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_pool_attrs *attrs = node->params;

    /* The kernel divides by one number; windows past the padding would need another. */
    return qd_pool_supports_q8(graph, node) && !(attrs->count_include_pad && attrs->window.ceil_mode);
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
    .limits = "int8: [1,c,h,w] without dilations, and not count_include_pad with ceil_mode",
    .parse = qd_pool_parse,
    .infer = infer,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_pool_run_q8,
};
