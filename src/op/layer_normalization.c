#include "op/moments.h"
#include "op/ops.h"

struct layer_params {
    float epsilon;
    int64_t given_axis;
    int axis; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct layer_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_float(node, "epsilon", 1e-5f, &params->epsilon, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "axis", -1, &params->given_axis, err);
    return status;
}

/* Scale and bias have the last dimensions of the input, with ones at most in front: they repeat through a row. */
static bool fits_row(const struct qd_shape *shape, const struct qd_shape *in, int axis)
{
    bool ended = false;

    if (shape->n_dims > in->n_dims - axis)
        return false;
    for (int i = 1; i <= shape->n_dims; i++) {
        int64_t size = shape->dims[shape->n_dims - i];

        if (size != in->dims[in->n_dims - i])
            ended = true;
        if (ended && size != 1)
            return false;
    }
    return true;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct layer_params *params = node->params;
    const struct qd_shape in = qd_node_input(graph, node, 0)->shape;
    struct qd_shape moments = in;
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    enum qd_status status = qd_op_axis(params->given_axis, in.n_dims, &params->axis, err);

    for (int i = 0; i < 3 && status == QD_OK; i++)
        status = qd_op_need_f32(graph, node, i, err);
    if (status != QD_OK)
        return status;
    for (int i = 1; i < 3; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);

        if (value && !fits_row(&value->shape, &in, params->axis))
            return qd_error_set(err, QD_UNSUPPORTED, "input %d: expected the last dimensions of %s, found %s", i,
                                qd_shape_text(&in, text), qd_shape_text(&value->shape, text2));
    }
    for (int d = params->axis; d < in.n_dims; d++)
        moments.dims[d] = 1;
    status = qd_op_infer_same(graph, node, err);
    for (int i = 1; i < 3 && status == QD_OK; i++)
        status = qd_op_set_output(graph, node, i, QD_F32, &moments, err);
    return status;
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct layer_params *params = node->params;
    int64_t n_rows = 1, row = 1, n_scale = qd_shape_count(in[1].shape), n_bias = 1;
    const float *x = in[0].data, *scale = in[1].data, *bias = node->n_inputs > 2 ? in[2].data : NULL;
    float *mean = node->n_outputs > 1 ? out[1].data : NULL, *inverse = node->n_outputs > 2 ? out[2].data : NULL;
    float *y = out[0].data;

    (void)run;
    for (int d = 0; d < in[0].shape->n_dims; d++)
        *(d < params->axis ? &n_rows : &row) *= in[0].shape->dims[d];
    if (bias)
        n_bias = qd_shape_count(in[2].shape);
    for (int64_t r = 0; r < n_rows; r++, x += row, y += row) {
        struct qd_moments moments = qd_moments_of(x, row, params->epsilon);

        qd_moments_apply(&moments, x, 1, 0, y, row);
        for (int64_t i = 0; i < row; i++)
            y[i] = y[i] * scale[i % n_scale] + (bias ? bias[i % n_bias] : 0);
        if (mean)
            mean[r] = (float)moments.mean;
        if (inverse)
            inverse[r] = (float)moments.inverse;
    }
}

const struct qd_op qd_op_layer_normalization = {
    .name = "LayerNormalization",
    .min_opset = 17,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 3,
    .n_outputs = 3,
    .limits = "fp32",
    .flags = QD_OP_ROWS,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};
