/* ArgMax and ArgMin: where the largest or smallest element along an axis is. */
#include "op/ops.h"

struct arg_params {
    int64_t axis, keepdims, last;
    int64_t outer, n, inner; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct arg_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "axis", 0, &params->axis, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "keepdims", 1, &params->keepdims, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "select_last_index", 0, &params->last, err);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct arg_params *params = node->params;
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape;
    struct qd_shape out = {0};
    int axis;
    enum qd_status status = qd_op_axis(params->axis, in->n_dims, &axis, err);

    if (status != QD_OK)
        return status;
    params->n = in->dims[axis];
    params->outer = params->inner = 1;
    if (!params->n)
        return qd_error_set(err, QD_INVALID, "axis %d: expected 1 element or more, found 0", axis);
    for (int d = 0; d < in->n_dims; d++) {
        if (d < axis)
            params->outer *= in->dims[d];
        if (d > axis)
            params->inner *= in->dims[d];
        if (d != axis || params->keepdims)
            out.dims[out.n_dims++] = d == axis ? 1 : in->dims[d];
    }
    return qd_op_set_output(graph, node, 0, QD_I64, &out, err);
}

/* int64 as itself: doubles do not tell its largest numbers apart. */
static int compare(const struct qd_view *in, int64_t i, int64_t j)
{
    if (in->dtype == QD_F32) {
        float a = ((const float *)in->data)[i], b = ((const float *)in->data)[j];

        return (a > b) - (a < b);
    } else {
        int64_t a = qd_element_i64(in->data, in->dtype, i), b = qd_element_i64(in->data, in->dtype, j);

        return (a > b) - (a < b);
    }
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct arg_params *params = node->params;
    int wanted = node->op == &qd_op_arg_max ? 1 : -1;

    (void)run;
    for (int64_t i = 0; i < params->outer * params->inner; i++) {
        int64_t first = i / params->inner * params->n * params->inner + i % params->inner, best = 0;

        for (int64_t j = 1; j < params->n; j++) {
            int order = compare(&in[0], first + j * params->inner, first + best * params->inner);

            if (order == wanted || (order == 0 && params->last))
                best = j;
        }
        ((int64_t *)out[0].data)[i] = best;
    }
}

#define ARG_FIELDS                                                                                                     \
    .min_opset = 7, .max_opset = 22, .min_inputs = 1, .max_inputs = 1, .n_outputs = 1, .parse = parse, .infer = infer, \
    .run_f32 = run_f32

const struct qd_op qd_op_arg_max = {.name = "ArgMax", ARG_FIELDS};
const struct qd_op qd_op_arg_min = {.name = "ArgMin", ARG_FIELDS};
