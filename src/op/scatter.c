/* ScatterElements (Scatter before opset 11) and ScatterND: the input with elements written over by index. */
#include <string.h>

#include "op/gather.h"
#include "op/move.h"

static enum qd_status check_reduction(const struct qd_graph *graph, const struct qd_node *node, struct qd_error *err)
{
    const struct qd_gather_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    static const char *const names[] = {"none", "add", "mul", "min", "max"};
    bool known = false;

    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++)
        known = known || strcmp(params->reduction, names[i]) == 0;
    if (!known)
        return qd_error_set(err, QD_INVALID, "reduction: expected none, add, mul, min or max, found '%.40s'",
                            params->reduction);
    if (in->dtype != qd_node_input(graph, node, 2)->dtype)
        return qd_error_set(err, QD_INVALID, "updates: expected %s", qd_dtype_name(in->dtype));
    if (strcmp(params->reduction, "none") != 0 && in->dtype != QD_F32)
        return qd_error_set(err, QD_UNSUPPORTED, "reduction: expected float, found %s", qd_dtype_name(in->dtype));
    return QD_OK;
}

static float reduce(const char *reduction, float a, float b)
{
    switch (reduction[1]) {
    case 'd':
        return a + b;
    case 'u':
        return a * b;
    case 'i':
        return a < b ? a : b;
    default:
        return a > b ? a : b;
    }
}

static void write_elements(const struct qd_gather_params *params, const struct qd_view *out, int64_t to,
                           const struct qd_view *updates, int64_t from, int64_t n)
{
    size_t bytes = qd_dtype_size(out->dtype);

    if (strcmp(params->reduction, "none") == 0) {
        memcpy((uint8_t *)out->data + (size_t)to * bytes, (const uint8_t *)updates->data + (size_t)from * bytes,
               (size_t)n * bytes);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float *y = (float *)out->data + to + i;

        *y = reduce(params->reduction, *y, ((const float *)updates->data)[from + i]);
    }
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_gather_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    const struct qd_shape *indices = &qd_node_input(graph, node, 1)->shape;
    bool fits = in->shape.n_dims == indices->n_dims && qd_shape_equal(indices, &qd_node_input(graph, node, 2)->shape);
    enum qd_status status = qd_op_axis(params->number, in->shape.n_dims, &params->axis, err);

    if (status == QD_OK)
        status = check_reduction(graph, node, err);
    if (status == QD_OK)
        status = qd_gather_check(graph, node, 1, in->shape.dims[params->axis], err);
    if (status != QD_OK)
        return status;
    for (int d = 0; d < in->shape.n_dims && fits; d++)
        fits = d == params->axis || indices->dims[d] <= in->shape.dims[d];
    if (!fits)
        return qd_error_set(err, QD_INVALID, "indices and updates: expected one shape of rank %d that fits",
                            in->shape.n_dims);
    return qd_op_infer_same(graph, node, err);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_gather_params *params = node->params;
    int64_t n = qd_shape_count(in[1].shape), size = in[0].shape->dims[params->axis];

    qd_copy_run_f32(node, in, out, run);
    for (int64_t i = 0; i < n; i++)
        write_elements(params, &out[0],
                       qd_gather_place(in[1].shape, i, in[0].shape, params->axis, qd_gather_index(&in[1], i, size)),
                       &in[2], i, 1);
}

#define SCATTER(variable, onnx_name, first, last)                                                                      \
    const struct qd_op variable = {                                                                                    \
        .name = onnx_name,                                                                                             \
        .limits = "reductions of floats only",                                                                         \
        .min_opset = first,                                                                                            \
        .max_opset = last,                                                                                             \
        .min_inputs = 3,                                                                                               \
        .max_inputs = 3,                                                                                               \
        .n_outputs = 1,                                                                                                \
        .parse = qd_gather_parse,                                                                                      \
        .infer = infer,                                                                                                \
        .run_f32 = run_f32,                                                                                            \
    }

SCATTER(qd_op_scatter, "Scatter", 9, 22);
SCATTER(qd_op_scatter_elements, "ScatterElements", 11, 22);

static enum qd_status tuples_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape, *at = &qd_node_input(graph, node, 1)->shape;
    const struct qd_shape *updates = &qd_node_input(graph, node, 2)->shape;
    int64_t k = at->n_dims ? at->dims[at->n_dims - 1] : 0;
    bool fits = k >= 1 && k <= in->n_dims && updates->n_dims == at->n_dims - 1 + in->n_dims - k;
    enum qd_status status = check_reduction(graph, node, err);

    if (status != QD_OK)
        return status;
    for (int d = 0; d < updates->n_dims && fits; d++)
        fits = updates->dims[d] == (d < at->n_dims - 1 ? at->dims[d] : in->dims[k + d - (at->n_dims - 1)]);
    if (!fits)
        return qd_error_set(err, QD_INVALID, "tuples of %lld and updates of rank %d do not fit rank %d", (long long)k,
                            updates->n_dims, in->n_dims);
    status = qd_gather_check_tuples(graph, node, 0, err);
    return status == QD_OK ? qd_op_infer_same(graph, node, err) : status;
}

static void tuples_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    const struct qd_shape *at = in[1].shape;
    int64_t k = at->dims[at->n_dims - 1], n = qd_shape_count(at) / k, slice = n ? qd_shape_count(in[2].shape) / n : 0;

    qd_copy_run_f32(node, in, out, run);
    for (int64_t i = 0; i < n; i++)
        write_elements(node->params, &out[0], qd_gather_tuple(&in[1], i, in[0].shape, 0), &in[2], i * slice, slice);
}

const struct qd_op qd_op_scatter_nd = {
    .name = "ScatterND",
    .min_opset = 11,
    .max_opset = 22,
    .min_inputs = 3,
    .max_inputs = 3,
    .limits = "reductions of floats only",
    .n_outputs = 1,
    .parse = qd_gather_parse,
    .infer = tuples_infer,
    .run_f32 = tuples_run,
};
