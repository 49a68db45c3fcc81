#include "op/batch_normalization.h"

#include <math.h>

#include "op/elementwise.h"
#include "op/q8.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_batch_norm_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    int64_t training, spatial = 1;
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_float(node, "epsilon", 1e-5f, &params->epsilon, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "training_mode", 0, &training, err);
    if (status == QD_OK && training)
        return qd_error_set(err, QD_UNSUPPORTED, "training_mode: expected 0, found 1");
    if (status == QD_OK && node->opset < 9)
        status = qd_node_attr_int(node, "spatial", 1, &spatial, err);
    if (status == QD_OK && !spatial)
        return qd_error_set(err, QD_UNSUPPORTED, "spatial: expected 1, found 0");
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    int64_t c;
    char text[QD_SHAPE_TEXT_SIZE];

    if (in->shape.n_dims < 1)
        return qd_error_set(err, QD_INVALID, "expected 1 dimension or more, found %s", qd_shape_text(&in->shape, text));
    c = in->shape.n_dims > 1 ? in->shape.dims[1] : 1; /* [n] is of one channel */
    for (int i = 1; i < 5; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);

        if (value->dtype != QD_F32 || value->shape.n_dims != 1 || value->shape.dims[0] != c)
            return qd_error_set(err, QD_INVALID, "input %d: expected float [%lld], found %s %s", i, (long long)c,
                                qd_dtype_name(value->dtype), qd_shape_text(&value->shape, text));
    }
    return qd_op_infer_same(graph, node, err);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_batch_norm_params *params = node->params;
    const float *x = in[0].data, *gamma = in[1].data, *beta = in[2].data, *mean = in[3].data, *var = in[4].data;
    int64_t n = in[0].shape->dims[0], c = in[1].shape->dims[0], size = 1;
    float *y = out[0].data;

    for (int d = 2; d < in[0].shape->n_dims; d++)
        size *= in[0].shape->dims[d];
    for (int64_t i = 0; i < n * c; i++) {
        float factor = gamma[i % c] / sqrtf(var[i % c] + params->epsilon);
        float shift = beta[i % c] - mean[i % c] * factor;

        for (int64_t j = 0; j < size; j++)
            y[i * size + j] = x[i * size + j] * factor + shift;
        if (node->act.kind != QD_ACT_NONE)
            run->kernels->f32->activate(&node->act, NULL, y + i * size, (size_t)size);
    }
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    for (int i = 1; i < 5; i++)
        if (!qd_node_input(graph, node, i)->data)
            return false;
    return graph->values[node->inputs[0]].shape.n_dims == 4;
}

static void line_of(const void *context, int c, double *ret_mult, double *ret_add)
{
    const struct qd_q8_prepare *prepare = context;
    const struct qd_batch_norm_params *params = prepare->node->params;
    double of[5];

    for (int i = 1; i < 5; i++)
        of[i] = (double)((const float *)qd_node_input(prepare->graph, prepare->node, i)->data)[c];
    *ret_mult = of[1] / sqrt(of[4] + (double)params->epsilon);
    *ret_add = of[2] - of[3] * *ret_mult;
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_q8_lines_prepare(prepare, line_of, prepare, err);
}

const struct qd_op qd_op_batch_normalization = {
    .name = "BatchNormalization",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 5,
    .max_inputs = 5,
    .n_outputs = 5,
    .flags = QD_OP_STEPS | QD_OP_FINISHES_F32,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
    .fuses = qd_elementwise_fuses,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_q8_lines_run,
};
