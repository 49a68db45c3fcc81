/* What makes constants: Shape, Size, Constant, ConstantOfShape; and Expand, which shape arithmetic uses. */
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

static enum qd_status size_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    return qd_op_set_output(graph, node, 0, QD_I64, &(struct qd_shape){0}, err);
}

static void size_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                     const struct qd_f32_run *run)
{
    (void)node;
    (void)run;
    *(int64_t *)out[0].data = qd_shape_count(in[0].shape);
}

const struct qd_op qd_op_size = {
    .name = "Size",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SHAPE_ONLY,
    .infer = size_infer,
    .run_f32 = size_run,
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
    .limits = "a constant shape",
    .n_outputs = 1,
    .parse = fill_parse,
    .infer = fill_infer,
    .run_f32 = fill_run,
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

static void expand_move(const struct qd_node *node, int i, const struct qd_move_side *in,
                        const struct qd_move_side *out, struct qd_move *ret)
{
    int shift = out->shape->n_dims - in->shape->n_dims;

    (void)node;
    (void)i;
    memset(ret, 0, sizeof(*ret));
    ret->n_dims = out->shape->n_dims;
    memcpy(ret->dims, out->shape->dims, sizeof(ret->dims));
    memcpy(ret->out_strides, out->strides, sizeof(ret->out_strides));
    for (int d = shift; d < ret->n_dims; d++)
        ret->in_strides[d] = in->shape->dims[d - shift] == 1 ? 0 : in->strides[d - shift];
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
    .limits = "a constant shape",
    .n_outputs = 1,
    .infer = expand_infer,
    .run_f32 = expand_run,
};
