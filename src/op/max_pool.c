#include "op/ops.h"
#include "op/pool.h"

static struct qd_conv_f32_params params_of(const struct qd_node *node, const struct qd_shape *in,
                                           const struct qd_shape *out)
{
    const struct qd_window *window = &((const struct qd_pool_attrs *)node->params)->window;

    return (struct qd_conv_f32_params){
        .c = (int)(in->dims[0] * in->dims[1]),
        .h = (int)in->dims[2],
        .w = (int)in->dims[3],
        .window = qd_window_f32_of(window),
        .out_h = (int)out->dims[2],
        .out_w = (int)out->dims[3],
    };
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    struct qd_conv_f32_params params =
        params_of(node, &graph->values[node->inputs[0]].shape, &graph->values[node->outputs[0]].shape);

    return qd_depthwise_f32_scratch(&params);
}

/* A NaN goes on to the output, or calibration finds it in the input. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    struct qd_conv_f32_params params = params_of(node, in[0].shape, out[0].shape);

    params.in = in[0].data;
    params.out = out[0].data;
    params.scratch = run->scratch;
    run->kernels->f32->max_pool(&params);
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
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_pool_run_q8,
};
