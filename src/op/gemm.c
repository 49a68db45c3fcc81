#include <string.h>

#include "op/conv_q8.h"
#include "op/ops.h"
#include "op/product.h"

struct gemm_params {
    float alpha, beta;
    int64_t trans_a, trans_b;
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct gemm_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_float(node, "alpha", 1, &params->alpha, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "beta", 1, &params->beta, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "transA", 0, &params->trans_a, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "transB", 0, &params->trans_b, err);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct gemm_params *params = node->params;
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    const struct qd_value *c = qd_node_input(graph, node, 2);
    struct qd_shape out = {.n_dims = 2}, sum;
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    int64_t k_a, k_b;
    enum qd_status status;

    for (int i = 0; i < 3; i++) {
        status = qd_op_need_f32(graph, node, i, err);
        if (status != QD_OK)
            return status;
    }
    if (a->shape.n_dims != 2 || b->shape.n_dims != 2)
        return qd_error_set(err, QD_INVALID, "expected two matrices, found %s and %s", qd_shape_text(&a->shape, text),
                            qd_shape_text(&b->shape, text2));
    out.dims[0] = a->shape.dims[params->trans_a ? 1 : 0];
    k_a = a->shape.dims[params->trans_a ? 0 : 1];
    k_b = b->shape.dims[params->trans_b ? 1 : 0];
    out.dims[1] = b->shape.dims[params->trans_b ? 0 : 1];
    if (k_a != k_b)
        return qd_error_set(err, QD_INVALID, "matrices %s and %s do not fit", qd_shape_text(&a->shape, text),
                            qd_shape_text(&b->shape, text2));
    if (c) {
        status = qd_shape_broadcast(&c->shape, &out, &sum, err);
        if (status != QD_OK || !qd_shape_equal(&sum, &out))
            return qd_error_set(err, QD_INVALID, "C: %s does not broadcast to %s", qd_shape_text(&c->shape, text),
                                qd_shape_text(&out, text2));
    }
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

/* The length of A's rows. A pass may have taken a Flatten away: then A is [1,c,h,w], one row of all its elements. */
static int64_t row_size(const struct gemm_params *params, const struct qd_shape *a)
{
    return a->n_dims == 2 ? a->dims[params->trans_a ? 0 : 1] : qd_shape_count(a);
}

/* C broadcast to element (row, column). */
static float c_at(const struct qd_view *c, int64_t row, int64_t column)
{
    const struct qd_shape *s = c->shape;
    int64_t columns = s->n_dims ? s->dims[s->n_dims - 1] : 1, rows = s->n_dims > 1 ? s->dims[s->n_dims - 2] : 1;

    return ((const float *)c->data)[(rows == 1 ? 0 : row) * columns + (columns == 1 ? 0 : column)];
}

/* The product's, and a copy of A where it lies transposed. */
static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct gemm_params *params = node->params;
    const struct qd_shape *a = &graph->values[node->inputs[0]].shape;
    int64_t n = graph->values[node->outputs[0]].shape.dims[1];

    return qd_product_scratch(n, row_size(params, a)) +
           (params->trans_a ? (size_t)qd_shape_count(a) * sizeof(float) : 0);
}

/* A as [m][k]. */
static const float *rows_of_a(const struct gemm_params *params, const float *a, int m, int k, float *copy)
{
    if (!params->trans_a)
        return a;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++)
            copy[(int64_t)i * k + j] = a[(int64_t)j * m + i];
    return copy;
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct gemm_params *params = node->params;
    int m = (int)out[0].shape->dims[0], n = (int)out[0].shape->dims[1];
    int k = (int)row_size(params, in[0].shape);
    float *y = out[0].data, *copy = (float *)(void *)((uint8_t *)run->scratch + qd_product_scratch(n, k));
    const float *a = rows_of_a(params, in[0].data, m, k, copy), *b = in[1].data;
    const struct qd_kernels_f32 *kernels = run->kernels->f32;

    if (params->trans_b) {
        for (int i = 0; i < m; i++)
            kernels->matvec(&(struct qd_matvec_f32_params){b, a + (int64_t)i * k, NULL, y + (int64_t)i * n, n, k});
    } else {
        qd_product_f32(kernels, a, b, m, n, k, y, run->scratch);
    }
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            float *sum = &y[(int64_t)i * n + j];

            *sum = params->alpha * *sum + (node->n_inputs > 2 && in[2].data ? params->beta * c_at(&in[2], i, j) : 0);
        }
    }
}

static int64_t macs(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct gemm_params *params = node->params;
    const struct qd_shape *a = &graph->values[node->inputs[0]].shape;

    return qd_shape_count(&graph->values[node->outputs[0]].shape) * row_size(params, a);
}

/* Rows of A against a constant B, with one constant row for all of them added. */
static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct gemm_params *params = node->params;
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    const struct qd_value *c = qd_node_input(graph, node, 2);
    bool one_row = graph->values[node->outputs[0]].shape.dims[0] == 1;

    if (params->trans_a || !b->data || (c && !c->data))
        return false;
    if (c && !one_row && c->shape.n_dims == 2 && c->shape.dims[0] != 1)
        return false;
    return qd_product_supports_q8(a, row_size(params, &a->shape));
}

static enum qd_status layer(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                            struct qd_layer *ret, struct qd_error *err)
{
    const struct gemm_params *params = node->params;
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    const struct qd_value *c = qd_node_input(graph, node, 2);
    int64_t n = graph->values[node->outputs[0]].shape.dims[1];
    struct qd_product_matrix matrix = {.b = b->data,
                                       .transposed = params->trans_b != 0,
                                       .alpha = params->alpha,
                                       .k = row_size(params, &a->shape),
                                       .n = n};
    float *bias = NULL;
    enum qd_status status;

    if (!supports_q8(graph, node))
        return qd_error_set(err, QD_UNSUPPORTED, "expected constant weights and one constant row to add");
    if (c) {
        struct qd_view view = {QD_F32, &c->shape, (void *)(uintptr_t)c->data};

        bias = qd_arena_array(arena, (size_t)n, sizeof(float));
        if (!bias)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
        for (int64_t j = 0; j < n; j++)
            bias[j] = params->beta * c_at(&view, 0, j);
    }
    status = qd_product_layer(a, &matrix, arena, ret, err);
    if (status == QD_OK)
        ret->bias = bias;
    return status;
}

const struct qd_op qd_op_gemm = {
    .name = "Gemm",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 3,
    .limits = "int8: constants B, and C for all rows, if any; A not transposed",
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_STEPS,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .fuses = qd_conv_q8_fuses,
    .macs = macs,
    .layer = layer,
    .supports_q8 = supports_q8,
    .prepare_q8 = qd_conv_q8_prepare,
    .run_q8 = qd_conv_q8_run,
};
