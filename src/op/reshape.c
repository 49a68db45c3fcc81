/* Reshape, Flatten, Squeeze, Unsqueeze, Identity and Dropout only name the same elements anew. */
#include <string.h>

#include "op/move.h"

struct reshape_params {
    int64_t number; /* Reshape's allowzero, Flatten's axis */
    const int64_t *axes;
    int n_axes;
};

static enum qd_status new_params(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    node->params = qd_arena_alloc(&graph->arena, sizeof(struct reshape_params));
    return node->params ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
}

static enum qd_status reshape_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = new_params(graph, node, err);

    return status == QD_OK
               ? qd_node_attr_int(node, "allowzero", 0, &((struct reshape_params *)node->params)->number, err)
               : status;
}

static enum qd_status reshape_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct reshape_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    int64_t wanted[QD_MAX_DIMS], known = 1, count = qd_shape_count(&in->shape);
    struct qd_shape out = {0};
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    int free_dim = -1;
    enum qd_status status = qd_op_const_ints(graph, node, 1, QD_MAX_DIMS, wanted, &out.n_dims, err);

    if (status != QD_OK)
        return status;
    for (int d = 0; d < out.n_dims; d++) {
        int64_t dim = wanted[d];

        if (dim == 0 && !params->number) {
            if (d >= in->shape.n_dims)
                return qd_error_set(err, QD_INVALID, "shape: dimension %d copies one that the input lacks", d);
            dim = in->shape.dims[d];
        }
        if (dim < -1 || dim > QD_MAX_ELEMENTS || (dim == -1 && free_dim >= 0))
            return qd_error_set(err, QD_INVALID, "shape: expected 0 or more and at most one -1, found %lld",
                                (long long)dim);
        if (dim == -1) {
            free_dim = d;
            dim = 1;
        }
        out.dims[d] = dim;
        known *= dim;
        if (known > QD_MAX_ELEMENTS)
            return qd_error_set(err, QD_TOO_LARGE, "shape: more than %d elements", QD_MAX_ELEMENTS);
    }
    if (free_dim >= 0 && known)
        out.dims[free_dim] = count / known;
    if (qd_shape_count(&out) != count)
        return qd_error_set(err, QD_INVALID, "shape: %s does not hold the elements of %s", qd_shape_text(&out, text),
                            qd_shape_text(&in->shape, text2));
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static enum qd_status flatten_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = new_params(graph, node, err);

    return status == QD_OK ? qd_node_attr_int(node, "axis", 1, &((struct reshape_params *)node->params)->number, err)
                           : status;
}

static enum qd_status flatten_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct reshape_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = {.n_dims = 2, .dims = {1, 1}};
    int64_t axis = params->number;

    if (axis < -in->shape.n_dims || axis > in->shape.n_dims)
        return qd_error_set(err, QD_INVALID, "axis: expected %d..%d, found %lld", -in->shape.n_dims, in->shape.n_dims,
                            (long long)axis);
    axis = axis < 0 ? axis + in->shape.n_dims : axis;
    for (int d = 0; d < in->shape.n_dims; d++)
        out.dims[d < axis ? 0 : 1] *= in->shape.dims[d];
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static enum qd_status axes_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = new_params(graph, node, err);
    struct reshape_params *params = node->params;

    return status == QD_OK ? qd_node_attr_ints(node, "axes", &params->axes, &params->n_axes, err) : status;
}

/* The axes, from the attribute (before opset 13) or the second input, as flags over n_dims dimensions. */
static enum qd_status read_axes(const struct qd_graph *graph, const struct qd_node *node, int n_dims,
                                bool flags[QD_MAX_DIMS], int *ret_n, struct qd_error *err)
{
    const struct reshape_params *params = node->params;
    int64_t axes[QD_MAX_DIMS];
    int n = params->n_axes, axis;
    enum qd_status status = QD_OK;

    if (qd_node_input(graph, node, 1))
        status = qd_op_const_ints(graph, node, 1, QD_MAX_DIMS, axes, &n, err);
    else if (n > QD_MAX_DIMS)
        status = qd_error_set(err, QD_INVALID, "axes: expected at most %d, found %d", QD_MAX_DIMS, n);
    else if (n)
        memcpy(axes, params->axes, (size_t)n * sizeof(axes[0]));
    for (int i = 0; i < n && status == QD_OK; i++) {
        status = qd_op_axis(axes[i], n_dims, &axis, err);
        if (status == QD_OK && flags[axis])
            status = qd_error_set(err, QD_INVALID, "axes: %d stands twice", axis);
        if (status == QD_OK)
            flags[axis] = true;
    }
    *ret_n = n;
    return status;
}

static enum qd_status squeeze_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    bool flags[QD_MAX_DIMS] = {false};
    struct qd_shape out = {0};
    int n;
    enum qd_status status = read_axes(graph, node, in->shape.n_dims, flags, &n, err);

    if (status != QD_OK)
        return status;
    for (int d = 0; d < in->shape.n_dims; d++) {
        if (flags[d] && in->shape.dims[d] != 1)
            return qd_error_set(err, QD_INVALID, "axes: dimension %d is %lld, not 1", d, (long long)in->shape.dims[d]);
        if (!(n ? flags[d] : in->shape.dims[d] == 1))
            out.dims[out.n_dims++] = in->shape.dims[d];
    }
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static enum qd_status unsqueeze_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    const struct reshape_params *params = node->params;
    bool flags[QD_MAX_DIMS] = {false};
    struct qd_shape out = {0};
    const struct qd_value *axes = qd_node_input(graph, node, 1);
    int64_t n_axes = axes ? qd_shape_count(&axes->shape) : params->n_axes;
    int n, from = 0;
    enum qd_status status;

    if (n_axes < 0 || in->shape.n_dims + n_axes > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d dimensions, found %lld", QD_MAX_DIMS,
                            (long long)(in->shape.n_dims + n_axes));
    out.n_dims = in->shape.n_dims + (int)n_axes;
    status = read_axes(graph, node, out.n_dims, flags, &n, err);
    if (status != QD_OK)
        return status;
    for (int d = 0; d < out.n_dims; d++)
        out.dims[d] = flags[d] ? 1 : in->shape.dims[from++];
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static enum qd_status dropout_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape shape = in->shape;
    enum qd_status status = qd_op_infer_same(graph, node, err);

    if (status == QD_OK && node->n_outputs > 1)
        status = qd_op_set_output(graph, node, 1, QD_BOOL, &shape, err);
    return status;
}

/* In inference everything passes and the mask is all ones. */
static void dropout_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                            const struct qd_f32_run *run)
{
    qd_copy_run_f32(node, in, out, run);
    if (node->n_outputs > 1 && out[1].data)
        memset(out[1].data, 1, (size_t)qd_shape_count(out[1].shape));
}

const struct qd_op qd_op_reshape = {
    .name = "Reshape",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .limits = "a constant shape",
    .n_outputs = 1,
    .parse = reshape_parse,
    .infer = reshape_infer,
    QD_COPY_FIELDS,
};

const struct qd_op qd_op_flatten = {
    .name = "Flatten",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .parse = flatten_parse,
    .infer = flatten_infer,
    QD_COPY_FIELDS,
};

const struct qd_op qd_op_squeeze = {
    .name = "Squeeze",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 2,
    .n_outputs = 1,
    .parse = axes_parse,
    .infer = squeeze_infer,
    QD_COPY_FIELDS,
};

const struct qd_op qd_op_unsqueeze = {
    .name = "Unsqueeze",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 2,
    .n_outputs = 1,
    .parse = axes_parse,
    .infer = unsqueeze_infer,
    QD_COPY_FIELDS,
};

const struct qd_op qd_op_identity = {
    .name = "Identity",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .infer = qd_op_infer_same,
    QD_COPY_FIELDS,
};

const struct qd_op qd_op_dropout = {
    .name = "Dropout",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 3,
    .n_outputs = 2,
    .flags = QD_OP_SAME_SCALE | QD_OP_COPY | QD_OP_TWO_ORDERS,
    .infer = dropout_infer,
    .run_f32 = dropout_run_f32,
    .supports_q8 = qd_copy_supports_q8,
    .prepare_q8 = qd_copy_prepare_q8,
    .keeps_bytes = qd_copy_keeps_bytes,
    .run_q8 = qd_move_run_q8,
};
