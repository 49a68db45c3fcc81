/* What makes constants: Shape, Constant, ConstantOfShape; and Cast, Expand and Gather, which shape arithmetic uses. */
#include <math.h>
#include <string.h>

#include "op/move.h"

struct shape_params {
    int64_t start, end;
};

static enum qd_status shape_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct shape_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "start", 0, &params->start, err);
    return status == QD_OK ? qd_node_attr_int(node, "end", QD_MAX_DIMS, &params->end, err) : status;
}

static int64_t clamp_dim(int64_t v, int n_dims)
{
    v = v < 0 ? v + n_dims : v;
    return v < 0 ? 0 : v > n_dims ? n_dims : v;
}

static enum qd_status shape_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct shape_params *params = node->params;
    int n_dims = qd_node_input(graph, node, 0)->shape.n_dims;
    struct qd_shape out = {.n_dims = 1};

    params->start = clamp_dim(params->start, n_dims);
    params->end = clamp_dim(params->end, n_dims);
    out.dims[0] = params->end > params->start ? params->end - params->start : 0;
    return qd_op_set_output(graph, node, 0, QD_I64, &out, err);
}

static void shape_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                      const struct qd_f32_run *run)
{
    const struct shape_params *params = node->params;

    (void)run;
    for (int64_t d = params->start; d < params->end; d++)
        ((int64_t *)out[0].data)[d - params->start] = in[0].shape->dims[d];
}

const struct qd_op qd_op_shape = {
    .name = "Shape",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SHAPE_ONLY,
    .parse = shape_parse,
    .infer = shape_infer,
    .run_f32 = shape_run,
};

/* A tensor that an attribute holds. */
static enum qd_status constant_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_value *value = qd_arena_alloc(&graph->arena, sizeof(*value));
    const struct qd_attr *attr;

    if (!value)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = value;
    if ((attr = qd_node_attr(node, "value")) && attr->kind == QD_ATTR_TENSOR) {
        *value = attr->tensor;
        return QD_OK;
    }
    if ((attr = qd_node_attr(node, "value_float")) && attr->kind == QD_ATTR_FLOAT) {
        value->dtype = QD_F32;
        value->data = &attr->f;
    } else if ((attr = qd_node_attr(node, "value_int")) && attr->kind == QD_ATTR_INT) {
        value->dtype = QD_I64;
        value->data = &attr->i;
    } else if ((attr = qd_node_attr(node, "value_floats")) && attr->kind == QD_ATTR_FLOATS) {
        value->dtype = QD_F32;
        value->data = attr->floats;
    } else if ((attr = qd_node_attr(node, "value_ints")) && attr->kind == QD_ATTR_INTS) {
        value->dtype = QD_I64;
        value->data = attr->ints;
    } else {
        return qd_error_set(err, QD_UNSUPPORTED, "expected value, value_float(s) or value_int(s)");
    }
    if (attr->kind == QD_ATTR_FLOATS || attr->kind == QD_ATTR_INTS) {
        value->shape.n_dims = 1;
        value->shape.dims[0] = attr->n;
    }
    return QD_OK;
}

static enum qd_status constant_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *value = node->params;

    return qd_op_set_output(graph, node, 0, value->dtype, &value->shape, err);
}

static void constant_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                         const struct qd_f32_run *run)
{
    const struct qd_value *value = node->params;

    (void)in;
    (void)run;
    memcpy(out[0].data, value->data, (size_t)qd_shape_count(out[0].shape) * qd_dtype_size(out[0].dtype));
}

const struct qd_op qd_op_constant = {
    .name = "Constant",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 0,
    .max_inputs = 0,
    .n_outputs = 1,
    .parse = constant_parse,
    .infer = constant_infer,
    .run_f32 = constant_run,
};

static enum qd_status fill_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const float zero = 0;
    struct qd_value *value = qd_arena_alloc(&graph->arena, sizeof(*value));
    const struct qd_attr *attr = qd_node_attr(node, "value");

    if (!value)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = value;
    if (attr && (attr->kind != QD_ATTR_TENSOR || qd_shape_count(&attr->tensor.shape) != 1))
        return qd_error_set(err, QD_INVALID, "value: expected a tensor of one element");
    value->dtype = attr ? attr->tensor.dtype : QD_F32;
    value->data = attr ? attr->tensor.data : &zero;
    return QD_OK;
}

static enum qd_status fill_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *value = node->params;
    struct qd_shape out = {0};
    enum qd_status status = qd_op_const_ints(graph, node, 0, QD_MAX_DIMS, out.dims, &out.n_dims, err);

    return status == QD_OK ? qd_op_set_output(graph, node, 0, value->dtype, &out, err) : status;
}

static void fill_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                     const struct qd_f32_run *run)
{
    const struct qd_value *value = node->params;
    size_t size = qd_dtype_size(out[0].dtype);
    int64_t count = qd_shape_count(out[0].shape);

    (void)in;
    (void)run;
    for (int64_t i = 0; i < count; i++)
        memcpy((uint8_t *)out[0].data + (size_t)i * size, value->data, size);
}

const struct qd_op qd_op_constant_of_shape = {
    .name = "ConstantOfShape",
    .min_opset = 9,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .parse = fill_parse,
    .infer = fill_infer,
    .run_f32 = fill_run,
};

/* ONNX's numbers of the types that Cast goes to. */
static enum qd_status cast_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const struct {
        int64_t onnx;
        enum qd_dtype dtype;
    } types[] = {{1, QD_F32}, {2, QD_U8},   {3, QD_S8},   {4, QD_I32},  {5, QD_I32},  {6, QD_I32},
                 {7, QD_I64}, {9, QD_BOOL}, {10, QD_F32}, {11, QD_F32}, {12, QD_I64}, {13, QD_I64}};
    const struct qd_value *in = qd_node_input(graph, node, 0);
    int64_t to;
    enum qd_status status = qd_node_attr_int(node, "to", 0, &to, err);

    for (size_t i = 0; i < QD_ARRAY_SIZE(types) && status == QD_OK; i++)
        if (types[i].onnx == to)
            return qd_op_set_output(graph, node, 0, types[i].dtype, &in->shape, err);
    return status == QD_OK ? qd_error_set(err, QD_UNSUPPORTED, "to: element type %lld is not supported", (long long)to)
                           : status;
}

static double element(const struct qd_view *view, int64_t i)
{
    switch (view->dtype) {
    case QD_F32:
        return (double)((const float *)view->data)[i];
    case QD_U8:
    case QD_BOOL:
        return ((const uint8_t *)view->data)[i];
    case QD_S8:
        return ((const int8_t *)view->data)[i];
    case QD_I32:
        return ((const int32_t *)view->data)[i];
    default:
        return (double)((const int64_t *)view->data)[i];
    }
}

/* A float as an integer of that range; what lies outside becomes the nearest bound, NaN 0. */
static int64_t to_integer(double x, double low, double high)
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
        double x = element(&in[0], i);

        switch (out[0].dtype) {
        case QD_F32:
            ((float *)out[0].data)[i] = (float)x;
            break;
        case QD_BOOL:
            ((uint8_t *)out[0].data)[i] = x != 0;
            break;
        case QD_U8:
            ((uint8_t *)out[0].data)[i] = (uint8_t)to_integer(x, 0, 255);
            break;
        case QD_S8:
            ((int8_t *)out[0].data)[i] = (int8_t)to_integer(x, -128, 127);
            break;
        case QD_I32:
            ((int32_t *)out[0].data)[i] = (int32_t)to_integer(x, INT32_MIN, INT32_MAX);
            break;
        default:
            ((int64_t *)out[0].data)[i] =
                in[0].dtype == QD_I64 ? ((const int64_t *)in[0].data)[i] : to_integer(x, -0x1p62, 0x1p62);
        }
    }
}

const struct qd_op qd_op_cast = {
    .name = "Cast",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .infer = cast_infer,
    .run_f32 = cast_run,
};

static enum qd_status expand_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape wanted = {0}, out;
    enum qd_status status = qd_op_const_ints(graph, node, 1, QD_MAX_DIMS, wanted.dims, &wanted.n_dims, err);

    if (status == QD_OK)
        status = qd_shape_broadcast(&in->shape, &wanted, &out, err);
    return status == QD_OK ? qd_op_set_output(graph, node, 0, in->dtype, &out, err) : status;
}

static void expand_move(const struct qd_node *node, int i, const struct qd_shape *const *in,
                        const struct qd_shape *const *out, qd_strides_of *strides_of, struct qd_move *ret)
{
    int shift = out[0]->n_dims - in[0]->n_dims;
    int64_t strides[QD_MAX_DIMS];

    (void)node;
    (void)i;
    memset(ret, 0, sizeof(*ret));
    ret->n_dims = out[0]->n_dims;
    memcpy(ret->dims, out[0]->dims, sizeof(ret->dims));
    strides_of(in[0], strides);
    strides_of(out[0], ret->out_strides);
    for (int d = shift; d < ret->n_dims; d++)
        ret->in_strides[d] = in[0]->dims[d - shift] == 1 ? 0 : strides[d - shift];
}

static void expand_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    (void)run;
    qd_move_run_views(node, in, out, 1, expand_move);
}

const struct qd_op qd_op_expand = {
    .name = "Expand",
    .min_opset = 8,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .infer = expand_infer,
    .run_f32 = expand_run,
};

struct gather_params {
    int64_t given_axis;
    int64_t outer, size, inner; /* set by infer */
};

static enum qd_status gather_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct gather_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    return qd_node_attr_int(node, "axis", 0, &params->given_axis, err);
}

static int64_t index_at(enum qd_dtype dtype, const void *data, int64_t i)
{
    return dtype == QD_I64 ? ((const int64_t *)data)[i] : ((const int32_t *)data)[i];
}

static enum qd_status gather_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct gather_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *indices = qd_node_input(graph, node, 1);
    struct qd_shape out = {0};
    int axis;
    enum qd_status status = qd_op_axis(params->given_axis, in->shape.n_dims, &axis, err);

    if (status != QD_OK)
        return status;
    if (indices->dtype != QD_I64 && indices->dtype != QD_I32)
        return qd_error_set(err, QD_INVALID, "indices: expected integers, found %s", qd_dtype_name(indices->dtype));
    if (!indices->data)
        return qd_error_set(err, QD_UNSUPPORTED, "indices: expected constants, found values known only at run time");
    if (in->shape.n_dims - 1 + indices->shape.n_dims > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d dimensions", QD_MAX_DIMS);
    params->outer = params->inner = 1;
    params->size = in->shape.dims[axis];
    for (int64_t i = 0; i < qd_shape_count(&indices->shape); i++) {
        int64_t index = index_at(indices->dtype, indices->data, i);

        if (index < -params->size || index >= params->size)
            return qd_error_set(err, QD_INVALID, "indices: expected %lld..%lld, found %lld", (long long)-params->size,
                                (long long)params->size - 1, (long long)index);
    }
    for (int d = 0; d < axis; d++)
        params->outer *= out.dims[out.n_dims++] = in->shape.dims[d];
    for (int d = 0; d < indices->shape.n_dims; d++)
        out.dims[out.n_dims++] = indices->shape.dims[d];
    for (int d = axis + 1; d < in->shape.n_dims; d++)
        params->inner *= out.dims[out.n_dims++] = in->shape.dims[d];
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static void gather_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    const struct gather_params *params = node->params;
    size_t bytes = (size_t)params->inner * qd_dtype_size(in[0].dtype);
    int64_t n = qd_shape_count(in[1].shape);
    uint8_t *to = out[0].data;

    (void)run;
    for (int64_t o = 0; o < params->outer; o++) {
        for (int64_t i = 0; i < n; i++, to += bytes) {
            int64_t index = index_at(in[1].dtype, in[1].data, i);

            index = index < 0 ? index + params->size : index;
            memcpy(to, (const uint8_t *)in[0].data + (size_t)(o * params->size + index) * bytes, bytes);
        }
    }
}

const struct qd_op qd_op_gather = {
    .name = "Gather",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .parse = gather_parse,
    .infer = gather_infer,
    .run_f32 = gather_run,
};
