#include <math.h>

#include "op/ops.h"
#include "op/pool.h"

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_window *window = &((const struct qd_pool_attrs *)node->params)->window;
    int64_t planes = in[0].shape->dims[0] * in[0].shape->dims[1], h = in[0].shape->dims[2], w = in[0].shape->dims[3];
    int64_t out_h = out[0].shape->dims[2], out_w = out[0].shape->dims[3];
    const float *x = in[0].data;
    float *y = out[0].data;

    (void)run;
    for (int64_t p = 0; p < planes; p++, x += h * w) {
        for (int64_t i = 0; i < out_h * out_w; i++) {
            int64_t y0 = i / out_w * window->stride[0] - window->pad_begin[0];
            int64_t x0 = i % out_w * window->stride[1] - window->pad_begin[1];
            float largest = -INFINITY;

            for (int64_t ky = 0; ky < window->kernel[0]; ky++) {
                int64_t iy = y0 + ky * window->dilation[0];

                for (int64_t kx = 0; kx < window->kernel[1]; kx++) {
                    int64_t ix = x0 + kx * window->dilation[1];

                    /* A NaN wins, as in ONNX Runtime; calibration then names the layer. */
                    if (iy >= 0 && iy < h && ix >= 0 && ix < w && !(x[iy * w + ix] <= largest))
                        largest = x[iy * w + ix];
                }
            }
            *y++ = largest;
        }
    }
}

/* The int8 kernel leaves padding out, so every window must hold a pixel. */
static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_window *window = &((const struct qd_pool_attrs *)node->params)->window;

    (void)graph;
    for (int i = 0; i < 2; i++)
        if (window->pad_begin[i] >= window->kernel[i] || window->pad_end[i] >= window->kernel[i] ||
            window->dilation[i] != 1)
            return false;
    return true;
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_pool_prepare_q8(prepare, false, err);
}

const struct qd_op qd_op_max_pool = {
    .name = "MaxPool",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 2,
    .flags = QD_OP_SAME_SCALE | QD_OP_STEPS,
    .parse = qd_pool_parse,
    .infer = qd_pool_infer,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_pool_run_q8,
};
