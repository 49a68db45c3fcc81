/* Cast and CastLike. float16 and double are read as float, so that a cast to either is one to float. */
#include <math.h>

#include "op/ops.h"

static enum qd_status cast_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_dtype dtype;
    int64_t to;
    enum qd_status status = qd_node_attr_int(node, "to", 0, &to, err);

    if (status == QD_OK)
        status = qd_op_dtype(to, &dtype, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "to");
    return qd_op_set_output(graph, node, 0, dtype, &qd_node_input(graph, node, 0)->shape, err);
}

static enum qd_status cast_like_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    return qd_op_set_output(graph, node, 0, qd_node_input(graph, node, 1)->dtype, &qd_node_input(graph, node, 0)->shape,
                            err);
}

double qd_element_f64(const void *data, enum qd_dtype dtype, int64_t i)
{
    return dtype == QD_F32 ? (double)((const float *)data)[i] : (double)qd_element_i64(data, dtype, i);
}

int64_t qd_element_i64(const void *data, enum qd_dtype dtype, int64_t i)
{
    switch (dtype) {
    case QD_F32:
        return qd_to_integer((double)((const float *)data)[i], -0x1p62, 0x1p62);
    case QD_S8:
        return ((const int8_t *)data)[i];
    case QD_I32:
        return ((const int32_t *)data)[i];
    case QD_I64:
        return ((const int64_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

int64_t qd_to_integer(double x, double low, double high)
{
    return isnan(x) ? 0 : (int64_t)(x < low ? low : x > high ? high : x);
}

static void cast_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                     const struct qd_f32_run *run)
{
    int64_t count = qd_shape_count(out[0].shape);

    (void)node;
    (void)run;
    for (int64_t i = 0; i < count; i++) {
        double x = qd_element_f64(in[0].data, in[0].dtype, i);

        switch (out[0].dtype) {
        case QD_F32:
            ((float *)out[0].data)[i] = (float)x;
            break;
        case QD_BOOL:
            ((uint8_t *)out[0].data)[i] = x != 0;
            break;
        case QD_U8:
            ((uint8_t *)out[0].data)[i] = (uint8_t)qd_to_integer(x, 0, 255);
            break;
        case QD_S8:
            ((int8_t *)out[0].data)[i] = (int8_t)qd_to_integer(x, -128, 127);
            break;
        case QD_I32:
            ((int32_t *)out[0].data)[i] = (int32_t)qd_to_integer(x, INT32_MIN, INT32_MAX);
            break;
        default:
            ((int64_t *)out[0].data)[i] =
                in[0].dtype == QD_I64 ? ((const int64_t *)in[0].data)[i] : qd_to_integer(x, -0x1p62, 0x1p62);
        }
    }
}

const struct qd_op qd_op_cast = {
    .name = "Cast",
    .limits = "no strings, no bfloat16",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .infer = cast_infer,
    .run_f32 = cast_run,
};

const struct qd_op qd_op_cast_like = {
    .name = "CastLike",
    .limits = "no strings, no bfloat16",
    .min_opset = 15,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .infer = cast_like_infer,
    .run_f32 = cast_run,
};
