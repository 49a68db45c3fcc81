#include <string.h>

#include "op/ops.h"

struct one_hot_params {
    int64_t given_axis;
    int axis; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct one_hot_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    return qd_node_attr_int(node, "axis", -1, &params->given_axis, err);
}

/* Element i as an integer. */
static int64_t integer(enum qd_dtype dtype, const void *data, int64_t i)
{
    return dtype == QD_F32   ? (int64_t)((const float *)data)[i]
           : dtype == QD_I32 ? ((const int32_t *)data)[i]
                             : ((const int64_t *)data)[i];
}

static bool is_number(enum qd_dtype dtype)
{
    return dtype == QD_F32 || dtype == QD_I32 || dtype == QD_I64;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct one_hot_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *depth = qd_node_input(graph, node, 1);
    const struct qd_value *values = qd_node_input(graph, node, 2);
    struct qd_shape out = {.n_dims = in->shape.n_dims + 1};
    enum qd_status status = qd_op_axis(params->given_axis, out.n_dims, &params->axis, err);

    if (status != QD_OK)
        return status;
    if (!depth->data)
        return qd_error_set(err, QD_UNSUPPORTED, "depth: expected a constant, found a value known only at run time");
    if (!is_number(in->dtype) || !is_number(depth->dtype) || qd_shape_count(&depth->shape) != 1 ||
        qd_shape_count(&values->shape) != 2 || out.n_dims > QD_MAX_DIMS)
        return qd_error_set(err, QD_INVALID, "expected indices, one depth and two values");
    for (int d = 0; d < out.n_dims; d++)
        out.dims[d] =
            d == params->axis ? integer(depth->dtype, depth->data, 0) : in->shape.dims[d < params->axis ? d : d - 1];
    return qd_op_set_output(graph, node, 0, values->dtype, &out, err);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct one_hot_params *params = node->params;
    int64_t n = qd_shape_count(in[0].shape), depth = out[0].shape->dims[params->axis], inner = 1;
    size_t size = qd_dtype_size(out[0].dtype);
    const uint8_t *values = in[2].data;
    uint8_t *to = out[0].data;

    (void)run;
    for (int d = params->axis; d < in[0].shape->n_dims; d++)
        inner *= in[0].shape->dims[d];
    for (int64_t i = 0; i < n; i++) {
        int64_t hot = integer(in[0].dtype, in[0].data, i);

        hot = hot < 0 ? hot + depth : hot;
        for (int64_t d = 0; d < depth; d++)
            memcpy(to + (size_t)((i / inner * depth + d) * inner + i % inner) * size, values + (d == hot ? size : 0),
                   size);
    }
}

const struct qd_op qd_op_one_hot = {
    .name = "OneHot",
    .min_opset = 9,
    .max_opset = 22,
    .min_inputs = 3,
    .max_inputs = 3,
    .limits = "constant depth",
    .n_outputs = 1,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};
