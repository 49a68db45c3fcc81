#include "op/slice.h"

#include <string.h>

#include "op/move.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    node->params = qd_arena_alloc(&graph->arena, sizeof(struct qd_slice_params));
    return node->params ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
}

/* Before opset 10 starts, ends and axes are attributes; since then inputs, with steps. */
static enum qd_status read_list(const struct qd_graph *graph, const struct qd_node *node, int i, const char *attribute,
                                int64_t *values, int *ret_n, struct qd_error *err)
{
    const int64_t *list;
    enum qd_status status;

    *ret_n = 0;
    if (node->opset >= 10)
        return qd_node_input(graph, node, i) ? qd_op_const_ints(graph, node, i, QD_MAX_DIMS, values, ret_n, err)
                                             : QD_OK;
    status = qd_node_attr_ints(node, attribute, &list, ret_n, err);
    if (status == QD_OK && *ret_n > QD_MAX_DIMS)
        return qd_error_set(err, QD_INVALID, "%s: expected at most %d values, found %d", attribute, QD_MAX_DIMS,
                            *ret_n);
    for (int j = 0; j < *ret_n && status == QD_OK; j++)
        values[j] = list[j];
    return status;
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_slice_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    int64_t starts[QD_MAX_DIMS], ends[QD_MAX_DIMS], axes[QD_MAX_DIMS], steps[QD_MAX_DIMS];
    struct qd_shape out = in->shape;
    int n_starts, n_ends, n_axes, n_steps = 0, axis;
    enum qd_status status = read_list(graph, node, 1, "starts", starts, &n_starts, err);

    if (status == QD_OK)
        status = read_list(graph, node, 2, "ends", ends, &n_ends, err);
    if (status == QD_OK)
        status = read_list(graph, node, 3, "axes", axes, &n_axes, err);
    if (status == QD_OK && node->opset >= 10)
        status = read_list(graph, node, 4, "steps", steps, &n_steps, err);
    if (status != QD_OK)
        return status;
    if (n_starts != n_ends || (n_axes && n_axes != n_starts) || (n_steps && n_steps != n_starts) ||
        n_starts > in->shape.n_dims)
        return qd_error_set(err, QD_INVALID, "starts, ends, axes and steps differ in length: %d, %d, %d, %d", n_starts,
                            n_ends, n_axes, n_steps);
    for (int d = 0; d < QD_MAX_DIMS; d++) {
        params->start[d] = 0;
        params->step[d] = 1;
    }
    for (int i = 0; i < n_starts; i++) {
        int64_t size, step = n_steps ? steps[i] : 1, start = starts[i], end = ends[i];

        status = qd_op_axis(n_axes ? axes[i] : i, in->shape.n_dims, &axis, err);
        if (status != QD_OK)
            return status;
        if (step == 0 || step < -QD_MAX_ELEMENTS || step > QD_MAX_ELEMENTS)
            return qd_error_set(err, QD_INVALID, "steps: expected neither 0 nor beyond 2^31, found %lld",
                                (long long)step);
        size = in->shape.dims[axis];
        start = start < 0 ? clamp(start, -size - 1, 0) + size : start;
        end = end < 0 ? clamp(end, -size - 1, 0) + size : end;
        start = step > 0 ? clamp(start, 0, size) : clamp(start, 0, size - 1);
        end = step > 0 ? clamp(end, 0, size) : clamp(end, -1, size - 1);
        out.dims[axis] = step > 0 ? (end - start + step - 1) / step : (start - end - step - 1) / -step;
        out.dims[axis] = out.dims[axis] < 0 ? 0 : out.dims[axis];
        params->start[axis] = start;
        params->step[axis] = step;
    }
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{
    const struct qd_slice_params *params = node->params;

    (void)i;
    memset(ret, 0, sizeof(*ret));
    ret->n_dims = out->shape->n_dims;
    memcpy(ret->dims, out->shape->dims, sizeof(ret->dims));
    memcpy(ret->out_strides, out->strides, sizeof(ret->out_strides));
    for (int d = 0; d < ret->n_dims; d++) {
        ret->in_strides[d] = in->strides[d] * params->step[d];
        ret->in_at += in->strides[d] * params->start[d];
    }
}

static bool channel_source(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                           struct qd_channel *ret)
{
    const struct qd_slice_params *params = node->params;

    (void)graph;
    (void)output;
    *ret = (struct qd_channel){node->inputs[0], params->start[1] + c * params->step[1]};
    return true;
}

QD_ONE_MOVE(slice_, move_of)

const struct qd_op qd_op_slice = {
    .name = "Slice",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 5,
    .limits = "constant starts, ends, axes and steps",
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_STEPS | QD_OP_ANY_ORDER,
    .parse = parse,
    .infer = infer,
    .channel_source = channel_source,
    QD_ONE_MOVE_FIELDS(slice_),
};
