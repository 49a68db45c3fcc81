#include "op/gather.h"

#include <string.h>

enum qd_status qd_gather_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_gather_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    bool tuples = strstr(node->op->name, "ND") != NULL;
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, tuples ? "batch_dims" : "axis", 0, &params->number, err);
    return status == QD_OK ? qd_node_attr_string(node, "reduction", "none", &params->reduction, err) : status;
}

static int64_t raw_index(enum qd_dtype dtype, const void *data, int64_t i)
{
    return dtype == QD_I64 ? ((const int64_t *)data)[i] : ((const int32_t *)data)[i];
}

int64_t qd_gather_index(const struct qd_view *indices, int64_t i, int64_t size)
{
    int64_t index = raw_index(indices->dtype, indices->data, i);

    index = index < 0 ? index + size : index;
    return index < 0 ? 0 : index >= size ? size - 1 : index;
}

int64_t qd_gather_place(const struct qd_shape *of, int64_t i, const struct qd_shape *in, int axis, int64_t index)
{
    int64_t strides[QD_MAX_DIMS], at = 0;

    qd_shape_strides(in, strides);
    for (int d = of->n_dims - 1; d >= 0; d--) {
        at += (d == axis ? index : i % of->dims[d]) * strides[d];
        i /= of->dims[d];
    }
    return at;
}

int64_t qd_gather_tuple(const struct qd_view *indices, int64_t i, const struct qd_shape *in, int first)
{
    int k = (int)indices->shape->dims[indices->shape->n_dims - 1];
    int64_t strides[QD_MAX_DIMS], at = 0;

    qd_shape_strides(in, strides);
    for (int d = 0; d < k; d++)
        at += qd_gather_index(indices, i * k + d, in->dims[first + d]) * strides[first + d];
    return at;
}

enum qd_status qd_gather_check(const struct qd_graph *graph, const struct qd_node *node, int i, int64_t size,
                               struct qd_error *err)
{
    const struct qd_value *indices = qd_node_input(graph, node, i);

    if (indices->dtype != QD_I64 && indices->dtype != QD_I32)
        return qd_error_set(err, QD_INVALID, "indices: expected integers, found %s", qd_dtype_name(indices->dtype));
    if (size == 0 && qd_shape_count(&indices->shape) > 0)
        return qd_error_set(err, QD_INVALID, "indices: expected none into an empty dimension, found %lld",
                            (long long)qd_shape_count(&indices->shape));
    for (int64_t j = 0; indices->data && j < qd_shape_count(&indices->shape); j++) {
        int64_t index = raw_index(indices->dtype, indices->data, j);

        if (index < -size || index >= size)
            return qd_error_set(err, QD_INVALID, "indices: expected %lld..%lld, found %lld", (long long)-size,
                                (long long)size - 1, (long long)index);
    }
    return QD_OK;
}

enum qd_status qd_gather_check_tuples(const struct qd_graph *graph, const struct qd_node *node, int first,
                                      struct qd_error *err)
{
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape;
    const struct qd_value *indices = qd_node_input(graph, node, 1);
    int64_t k = indices->shape.dims[indices->shape.n_dims - 1], n = qd_shape_count(&indices->shape);
    enum qd_status status = qd_gather_check(graph, node, 1, QD_MAX_ELEMENTS, err);

    for (int64_t d = 0; d < k && n > 0 && status == QD_OK; d++)
        if (in->dims[first + d] == 0)
            status = qd_error_set(err, QD_INVALID, "indices: expected none into an empty dimension");
    for (int64_t i = 0; indices->data && i < n && status == QD_OK; i++) {
        int64_t size = in->dims[first + i % k], index = raw_index(indices->dtype, indices->data, i);

        if (index < -size || index >= size)
            status = qd_error_set(err, QD_INVALID, "indices: expected %lld..%lld, found %lld", (long long)-size,
                                  (long long)size - 1, (long long)index);
    }
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_gather_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *indices = qd_node_input(graph, node, 1);
    struct qd_shape out = {0};
    enum qd_status status = qd_op_axis(params->number, in->shape.n_dims, &params->axis, err);

    if (status == QD_OK)
        status = qd_gather_check(graph, node, 1, in->shape.dims[params->axis], err);
    if (status != QD_OK)
        return status;
    if (in->shape.n_dims - 1 + indices->shape.n_dims > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d dimensions", QD_MAX_DIMS);
    for (int d = 0; d < params->axis; d++)
        out.dims[out.n_dims++] = in->shape.dims[d];
    for (int d = 0; d < indices->shape.n_dims; d++)
        out.dims[out.n_dims++] = indices->shape.dims[d];
    for (int d = params->axis + 1; d < in->shape.n_dims; d++)
        out.dims[out.n_dims++] = in->shape.dims[d];
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_gather_params *params = node->params;
    const struct qd_shape *shape = in[0].shape;
    int64_t n = qd_shape_count(in[1].shape), size = shape->dims[params->axis], outer = 1, inner = 1;
    uint8_t *to = out[0].data;
    size_t bytes;

    (void)run;
    for (int d = 0; d < shape->n_dims; d++)
        *(d < params->axis ? &outer : &inner) *= d == params->axis ? 1 : shape->dims[d];
    bytes = (size_t)inner * qd_dtype_size(in[0].dtype);
    for (int64_t o = 0; o < outer && size; o++)
        for (int64_t i = 0; i < n; i++, to += bytes)
            memcpy(to, (const uint8_t *)in[0].data + (size_t)(o * size + qd_gather_index(&in[1], i, size)) * bytes,
                   bytes);
}

const struct qd_op qd_op_gather = {
    .name = "Gather",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .limits = "indices may come at run time",
    .n_outputs = 1,
    .parse = qd_gather_parse,
    .infer = infer,
    .run_f32 = run_f32,
};

static enum qd_status elements_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_gather_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *indices = qd_node_input(graph, node, 1);
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    bool fits = in->shape.n_dims == indices->shape.n_dims;
    enum qd_status status = qd_op_axis(params->number, in->shape.n_dims, &params->axis, err);

    if (status == QD_OK)
        status = qd_gather_check(graph, node, 1, in->shape.dims[params->axis], err);
    if (status != QD_OK)
        return status;
    for (int d = 0; d < in->shape.n_dims && fits; d++)
        fits = d == params->axis || indices->shape.dims[d] <= in->shape.dims[d];
    if (!fits)
        return qd_error_set(err, QD_INVALID, "indices: %s do not fit into %s on axis %d",
                            qd_shape_text(&indices->shape, text), qd_shape_text(&in->shape, text2), params->axis);
    return qd_op_set_output(graph, node, 0, in->dtype, &indices->shape, err);
}

static void elements_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                         const struct qd_f32_run *run)
{
    const struct qd_gather_params *params = node->params;
    int64_t n = qd_shape_count(in[1].shape), size = in[0].shape->dims[params->axis];
    size_t bytes = qd_dtype_size(in[0].dtype);

    (void)run;
    for (int64_t i = 0; i < n; i++) {
        int64_t from = qd_gather_place(in[1].shape, i, in[0].shape, params->axis, qd_gather_index(&in[1], i, size));

        memcpy((uint8_t *)out[0].data + (size_t)i * bytes, (const uint8_t *)in[0].data + (size_t)from * bytes, bytes);
    }
}

const struct qd_op qd_op_gather_elements = {
    .name = "GatherElements",
    .min_opset = 11,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .limits = "indices may come at run time",
    .n_outputs = 1,
    .parse = qd_gather_parse,
    .infer = elements_infer,
    .run_f32 = elements_run,
};

/* indices [b.., i.., k] point into dimensions b .. b + k - 1 of the input. */
static enum qd_status tuples_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_gather_params *params = node->params;
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape, *at = &qd_node_input(graph, node, 1)->shape;
    int64_t batch = params->number, k = at->n_dims ? at->dims[at->n_dims - 1] : 0;
    struct qd_shape out = {0};
    enum qd_status status;

    if (batch < 0 || batch >= at->n_dims || k < 1 || batch + k > in->n_dims)
        return qd_error_set(err, QD_INVALID, "batch_dims %lld and tuples of %lld do not fit rank %d", (long long)batch,
                            (long long)k, in->n_dims);
    status = qd_gather_check_tuples(graph, node, (int)batch, err);
    if (status != QD_OK)
        return status;
    if (at->n_dims - 1 + in->n_dims - batch - k > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d dimensions", QD_MAX_DIMS);
    for (int d = 0; d < at->n_dims - 1; d++)
        out.dims[out.n_dims++] = at->dims[d];
    for (int d = 0; d < batch; d++)
        if (in->dims[d] != at->dims[d])
            return qd_error_set(err, QD_INVALID, "batch dimension %d: %lld and %lld differ", d, (long long)in->dims[d],
                                (long long)at->dims[d]);
    for (int64_t d = batch + k; d < in->n_dims; d++)
        out.dims[out.n_dims++] = in->dims[d];
    return qd_op_set_output(graph, node, 0, qd_node_input(graph, node, 0)->dtype, &out, err);
}

static void tuples_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    const struct qd_gather_params *params = node->params;
    const struct qd_shape *shape = in[0].shape, *at = in[1].shape;
    int batch = (int)params->number, k = (int)at->dims[at->n_dims - 1];
    int64_t n = qd_shape_count(at) / k, slice = 1, per_batch, batches = 1, whole;
    size_t bytes;

    (void)run;
    for (int d = batch + k; d < shape->n_dims; d++)
        slice *= shape->dims[d];
    for (int d = 0; d < batch; d++)
        batches *= shape->dims[d];
    if (!n || !batches)
        return;
    per_batch = n / batches;
    whole = qd_shape_count(shape) / batches;
    bytes = (size_t)slice * qd_dtype_size(in[0].dtype);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = i / per_batch * whole + qd_gather_tuple(&in[1], i, shape, batch);

        memcpy((uint8_t *)out[0].data + (size_t)i * bytes,
               (const uint8_t *)in[0].data + (size_t)from * qd_dtype_size(in[0].dtype), bytes);
    }
}

const struct qd_op qd_op_gather_nd = {
    .name = "GatherND",
    .min_opset = 11,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .limits = "indices may come at run time",
    .n_outputs = 1,
    .parse = qd_gather_parse,
    .infer = tuples_infer,
    .run_f32 = tuples_run,
};
