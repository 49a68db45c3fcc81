/* NonZero of a constant: how many rows come out is known at load only where the input is. */
#include "op/ops.h"

static bool is_zero(const struct qd_view *view, int64_t i)
{
    size_t size = qd_dtype_size(view->dtype);
    const uint8_t *bytes = (const uint8_t *)view->data + (size_t)i * size;

    if (view->dtype == QD_F32) /* -0 too */
        return !(((const float *)view->data)[i] < 0 || ((const float *)view->data)[i] > 0);
    for (size_t b = 0; b < size; b++)
        if (bytes[b])
            return false;
    return true;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_view view = {in->dtype, &in->shape, (void *)(uintptr_t)in->data};
    struct qd_shape out = {.n_dims = 2, .dims = {in->shape.n_dims, 0}};

    if (!in->data)
        return qd_error_set(err, QD_UNSUPPORTED, "input 0: expected a constant, found a value known only at run time");
    for (int64_t i = 0; i < qd_shape_count(&in->shape); i++)
        out.dims[1] += !is_zero(&view, i);
    return qd_op_set_output(graph, node, 0, QD_I64, &out, err);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    int64_t n = out[0].shape->dims[1], found = 0, count = qd_shape_count(in[0].shape), *y = out[0].data;

    (void)node;
    (void)run;
    for (int64_t i = 0; i < count && found < n; i++) {
        int64_t rest = i;

        if (is_zero(&in[0], i))
            continue;
        for (int d = in[0].shape->n_dims - 1; d >= 0; d--) {
            y[d * n + found] = rest % in[0].shape->dims[d];
            rest /= in[0].shape->dims[d];
        }
        found++;
    }
}

const struct qd_op qd_op_non_zero = {
    .name = "NonZero",
    .min_opset = 9,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .limits = "constants only",
    .n_outputs = 1,
    .infer = infer,
    .run_f32 = run_f32,
};
