#include <math.h>

#include "op/ops.h"
#include "op/pool.h"

static inline float larger(float largest, float value)
{
    /* A NaN wins, as in ONNX Runtime; calibration then names the layer. */
    return !(value <= largest) ? value : largest;
}

static void take(const float *x, int64_t stride, float *y, int64_t n)
{
    if (stride == 1)
        for (int64_t i = 0; i < n; i++)
            y[i] = larger(y[i], x[i]);
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = larger(y[i], x[i * stride]);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    (void)run;
    qd_pool_run_taps(node, in, out, -INFINITY, take);
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
