#include <math.h>

#include "op/ops.h"

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *x = qd_node_input(graph, node, 0);
    const struct qd_shape scalar = {0};
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status == QD_OK)
        status = qd_op_set_output(graph, node, 0, QD_U8, &x->shape, err);
    if (status == QD_OK)
        status = qd_op_set_output(graph, node, 1, QD_F32, &scalar, err);
    return status == QD_OK ? qd_op_set_output(graph, node, 2, QD_U8, &scalar, err) : status;
}

/* The range holds 0, and its lowest byte is rounded to a zero point. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const float *x = in[0].data;
    int64_t count = qd_shape_count(in[0].shape);
    float low = 0, high = 0, scale, zero;

    (void)run;
    for (int64_t i = 0; i < count; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    scale = high > low ? (high - low) / 255 : 1;
    zero = rintf(fminf(fmaxf(-low / scale, 0), 255));
    for (int64_t i = 0; i < count; i++)
        ((uint8_t *)out[0].data)[i] = (uint8_t)fminf(fmaxf(rintf(x[i] / scale) + zero, 0), 255);
    if (node->n_outputs > 1 && out[1].data)
        *(float *)out[1].data = scale;
    if (node->n_outputs > 2 && out[2].data)
        *(uint8_t *)out[2].data = (uint8_t)zero;
}

const struct qd_op qd_op_dynamic_quantize_linear = {
    .name = "DynamicQuantizeLinear",
    .min_opset = 11,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 3,
    .infer = infer,
    .run_f32 = run_f32,
};
