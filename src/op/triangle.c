/* Trilu, and EyeLike: what lies on one side of a diagonal, and a diagonal of ones. */
#include <string.h>

#include "op/ops.h"

struct triangle_params {
    int64_t k; /* the diagonal: above the main one where positive */
    int64_t upper;
    int64_t dtype; /* EyeLike's, ONNX's number; 0: the input's */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct triangle_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "upper", 1, &params->upper, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "k", 0, &params->k, err);
    return status == QD_OK ? qd_node_attr_int(node, "dtype", 0, &params->dtype, err) : status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct triangle_params *params = node->params;
    int n;
    enum qd_status status = QD_OK;

    if (qd_node_input(graph, node, 1))
        status = qd_op_const_ints(graph, node, 1, 1, &params->k, &n, err);
    if (status == QD_OK && qd_node_input(graph, node, 0)->shape.n_dims < 2)
        status = qd_error_set(err, QD_INVALID, "expected matrices, found rank %d",
                              qd_node_input(graph, node, 0)->shape.n_dims);
    return status == QD_OK ? qd_op_infer_same(graph, node, err) : status;
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct triangle_params *params = node->params;
    const struct qd_shape *shape = in[0].shape;
    int64_t columns = shape->dims[shape->n_dims - 1], rows = shape->dims[shape->n_dims - 2];
    int64_t n = qd_shape_count(shape);
    size_t size = qd_dtype_size(in[0].dtype);

    (void)run;
    for (int64_t i = 0; i < n; i++) {
        int64_t diagonal = i % columns - i / columns % rows;
        bool keep = params->upper ? diagonal >= params->k : diagonal <= params->k;

        if (keep)
            memcpy((uint8_t *)out[0].data + (size_t)i * size, (const uint8_t *)in[0].data + (size_t)i * size, size);
        else
            memset((uint8_t *)out[0].data + (size_t)i * size, 0, size);
    }
}

const struct qd_op qd_op_trilu = {
    .name = "Trilu",
    .min_opset = 14,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 2,
    .n_outputs = 1,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};

static enum qd_status eye_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct triangle_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    enum qd_dtype dtype = in->dtype;
    enum qd_status status = params->dtype ? qd_op_dtype(params->dtype, &dtype, err) : QD_OK;

    if (status == QD_OK && in->shape.n_dims != 2)
        status = qd_error_set(err, QD_INVALID, "expected a matrix, found rank %d", in->shape.n_dims);
    return status == QD_OK ? qd_op_set_output(graph, node, 0, dtype, &in->shape, err) : status;
}

static void eye_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct triangle_params *params = node->params;
    int64_t rows = out[0].shape->dims[0], columns = out[0].shape->dims[1];

    (void)in;
    (void)run;
    memset(out[0].data, 0, (size_t)(rows * columns) * qd_dtype_size(out[0].dtype));
    for (int64_t y = 0; y < rows; y++) {
        int64_t x = y + params->k, at = y * columns + x;

        if (x < 0 || x >= columns)
            continue;
        if (out[0].dtype == QD_F32)
            ((float *)out[0].data)[at] = 1;
        else /* little-endian: the lowest byte of an integer */
            ((uint8_t *)out[0].data)[(size_t)at * qd_dtype_size(out[0].dtype)] = 1;
    }
}

const struct qd_op qd_op_eye_like = {
    .name = "EyeLike",
    .min_opset = 9,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SHAPE_ONLY,
    .parse = parse,
    .infer = eye_infer,
    .run_f32 = eye_run,
};
