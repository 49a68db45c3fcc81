#include <math.h>

#include "op/ops.h"

/* An element of a number type other than int8, uint8 and bool. */
static double number(enum qd_dtype dtype, const void *data)
{
    return dtype == QD_F32   ? (double)*(const float *)data
           : dtype == QD_I32 ? (double)*(const int32_t *)data
                             : (double)*(const int64_t *)data;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in[3];
    struct qd_shape out = {.n_dims = 1};
    double count, delta;

    for (int i = 0; i < 3; i++) {
        in[i] = qd_node_input(graph, node, i);
        if (in[i]->dtype != in[0]->dtype || qd_shape_count(&in[i]->shape) != 1 ||
            (in[i]->dtype != QD_F32 && in[i]->dtype != QD_I32 && in[i]->dtype != QD_I64))
            return qd_error_set(err, QD_INVALID, "input %d: expected one number of the type of start", i);
        if (!in[i]->data)
            return qd_error_set(err, QD_UNSUPPORTED,
                                "input %d: expected a constant, found a value known only at run time", i);
    }
    delta = number(in[2]->dtype, in[2]->data);
    count = ceil((number(in[1]->dtype, in[1]->data) - number(in[0]->dtype, in[0]->data)) / delta);
    if (!(delta < 0 || delta > 0) || !(count <= QD_MAX_ELEMENTS))
        return qd_error_set(err, QD_INVALID, "delta: %g gives no range of at most %d elements", delta, QD_MAX_ELEMENTS);
    out.dims[0] = count > 0 ? (int64_t)count : 0;
    return qd_op_set_output(graph, node, 0, in[0]->dtype, &out, err);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    int64_t n = qd_shape_count(out[0].shape);

    (void)node;
    (void)run;
    for (int64_t i = 0; i < n; i++) {
        if (out[0].dtype == QD_F32)
            ((float *)out[0].data)[i] = *(const float *)in[0].data + (float)i * *(const float *)in[2].data;
        else if (out[0].dtype == QD_I32)
            ((int32_t *)out[0].data)[i] =
                (int32_t)((int64_t) * (const int32_t *)in[0].data + i * *(const int32_t *)in[2].data);
        else
            ((int64_t *)out[0].data)[i] = (int64_t)((uint64_t) * (const int64_t *)in[0].data +
                                                    (uint64_t)i * (uint64_t) * (const int64_t *)in[2].data);
    }
}

const struct qd_op qd_op_range = {
    .name = "Range",
    .min_opset = 11,
    .max_opset = 22,
    .min_inputs = 3,
    .max_inputs = 3,
    .limits = "constants only",
    .n_outputs = 1,
    .infer = infer,
    .run_f32 = run_f32,
};
