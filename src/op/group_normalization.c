#include "op/moments.h"
#include "op/ops.h"

/* GroupNormalization; InstanceNormalization has a group for each channel. */
struct group_params {
    float epsilon;
    int64_t n_groups; /* 0: as many as channels */
};

static enum qd_status parse_instance(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct group_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    return qd_node_attr_float(node, "epsilon", 1e-5f, &params->epsilon, err);
}

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = parse_instance(graph, node, err);
    struct group_params *params = node->params;

    if (status == QD_OK)
        status = qd_node_attr_int(node, "num_groups", 0, &params->n_groups, err);
    if (status == QD_OK && params->n_groups < 1)
        return qd_error_set(err, QD_INVALID, "num_groups: expected 1 or more, found %lld", (long long)params->n_groups);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct group_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    char text[QD_SHAPE_TEXT_SIZE];
    enum qd_status status = QD_OK;
    int64_t c;

    for (int i = 0; i < 3 && status == QD_OK; i++)
        status = qd_op_need_f32(graph, node, i, err);
    if (status != QD_OK)
        return status;
    if (in->shape.n_dims < 2 || (params->n_groups && in->shape.dims[1] % params->n_groups))
        return qd_error_set(err, QD_INVALID, "expected [n,c,...] with c a multiple of %lld, found %s",
                            (long long)(params->n_groups ? params->n_groups : 1), qd_shape_text(&in->shape, text));
    c = in->shape.dims[1];
    for (int i = 1; i < 3; i++) {
        const struct qd_shape *shape = &qd_node_input(graph, node, i)->shape;

        /* Until opset 20 a group had one scale and bias. */
        if (shape->n_dims != 1 ||
            (shape->dims[0] != c && (node->opset >= 21 || !params->n_groups || shape->dims[0] != params->n_groups)))
            return qd_error_set(err, QD_INVALID, "input %d: expected [%lld], found %s", i, (long long)c,
                                qd_shape_text(shape, text));
    }
    return qd_op_infer_same(graph, node, err);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct group_params *params = node->params;
    int64_t n = in[0].shape->dims[0], c = in[0].shape->dims[1], plane = 1;
    int64_t n_groups = params->n_groups ? params->n_groups : c, c_group = n_groups ? c / n_groups : 0;
    int64_t per_scale = c_group, per_bias = c_group;
    const float *x = in[0].data, *scale = in[1].data, *bias = in[2].data;
    float *y = out[0].data;

    (void)run;
    for (int d = 2; d < in[0].shape->n_dims; d++)
        plane *= in[0].shape->dims[d];
    per_scale = in[1].shape->dims[0] == c ? 1 : c_group;
    per_bias = in[2].shape->dims[0] == c ? 1 : c_group;
    for (int64_t g = 0; g < n * n_groups; g++) {
        int64_t first = g % n_groups * c_group;
        struct qd_moments moments = qd_moments_of(x, c_group * plane, params->epsilon);

        for (int64_t i = first; i < first + c_group; i++, x += plane, y += plane)
            qd_moments_apply(&moments, x, scale[i / per_scale], bias[i / per_bias], y, plane);
    }
}

const struct qd_op qd_op_group_normalization = {
    .name = "GroupNormalization",
    .min_opset = 18,
    .max_opset = 22,
    .min_inputs = 3,
    .max_inputs = 3,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};

const struct qd_op qd_op_instance_normalization = {
    .name = "InstanceNormalization",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 3,
    .max_inputs = 3,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = parse_instance,
    .infer = infer,
    .run_f32 = run_f32,
};
