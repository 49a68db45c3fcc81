#include <math.h>

#include "op/ops.h"

struct lrn_params {
    float alpha, beta, bias;
    int64_t size;
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct lrn_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_float(node, "alpha", 1e-4f, &params->alpha, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "beta", 0.75f, &params->beta, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "bias", 1, &params->bias, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "size", 0, &params->size, err);
    if (status == QD_OK && (params->size < 1 || params->size > 65535))
        return qd_error_set(err, QD_INVALID, "size: expected 1..65535, found %lld", (long long)params->size);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape;
    char text[QD_SHAPE_TEXT_SIZE];
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status != QD_OK)
        return status;
    if (in->n_dims < 2)
        return qd_error_set(err, QD_INVALID, "expected [n,c,...], found %s", qd_shape_text(in, text));
    return qd_op_infer_same(graph, node, err);
}

/* y = x / s^beta; the beta that AlexNet and GoogLeNet have is two roots, which become vectors. */
static void divide(const float *x, float *y, int64_t n, float beta)
{
    if (beta == 0.75f)
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] / (sqrtf(y[i]) * sqrtf(sqrtf(y[i])));
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] / powf(y[i], beta);
}

/* Squares are summed where the output will be. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct lrn_params *params = node->params;
    int64_t n = in[0].shape->dims[0], c = in[0].shape->dims[1], plane = 1, before = (params->size - 1) / 2;
    float each = params->alpha / (float)params->size;

    (void)run;
    for (int d = 2; d < in[0].shape->n_dims; d++)
        plane *= in[0].shape->dims[d];
    for (int64_t i = 0; i < n * c; i++) {
        int64_t first = i % c - before, end = first + params->size;
        const float *image = (const float *)in[0].data + i / c * c * plane;
        float *y = (float *)out[0].data + i * plane;

        for (int64_t j = 0; j < plane; j++)
            y[j] = 0;
        for (int64_t k = first < 0 ? 0 : first; k < c && k < end; k++)
            for (int64_t j = 0; j < plane; j++)
                y[j] += image[k * plane + j] * image[k * plane + j];
        for (int64_t j = 0; j < plane; j++)
            y[j] = params->bias + each * y[j];
        divide((const float *)in[0].data + i * plane, y, plane, params->beta);
    }
}

const struct qd_op qd_op_lrn = {
    .name = "LRN",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};
