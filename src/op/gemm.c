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

/* out[m][n] = a[m][k] * b[k][n]: a pointwise convolution of n pixels. */
static struct qd_conv_f32_params product_of(const float *a, const float *b, int m, int n, int k, float *out,
                                            void *scratch)
{
    return (struct qd_conv_f32_params){.in = b,
                                       .c = k,
                                       .h = 1,
                                       .w = n,
                                       .window = {1, 1, 1, 1, 1, 1, 0, 0},
                                       .weights = a,
                                       .out = out,
                                       .n = m,
                                       .out_h = 1,
                                       .out_w = n,
                                       .scratch = scratch};
}

void qd_product_f32(const struct qd_kernels_f32 *kernels, const float *a, const float *b, int64_t m, int64_t n,
                    int64_t k, float *out, void *scratch)
{
    struct qd_conv_f32_params product = product_of(a, b, (int)m, (int)n, (int)k, out, scratch);

    kernels->conv(&product);
}

size_t qd_product_scratch(int64_t n, int64_t k)
{
    struct qd_conv_f32_params product = product_of(NULL, NULL, 1, (int)n, (int)k, NULL, NULL);

    return (qd_conv_f32_scratch(&product) + 63) / 64 * 64;
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

static bool fuses(const struct qd_node *node, const struct qd_activation *act)
{
    (void)node;
    (void)act;
    return true;
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct gemm_params *params = node->params;
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    const struct qd_value *c = qd_node_input(graph, node, 2);

    return !params->trans_a && a->shape.dims[0] == 1 && b->data && (!c || c->data) &&
           row_size(params, &a->shape) <= QD_KERNEL_MAX_K;
}

/*
 * A layer of k inputs and n outputs: a convolution over one pixel, or over the whole picture where input 0 is one. b is
 * [k][n], or [n][k] where transposed; as [n][c][h][w] that is a convolution's weights.
 */
static enum qd_status layer_of(const struct qd_shape *in, const float *b, bool transposed, float alpha, int k, int n,
                               struct qd_arena *arena, struct qd_layer *ret, struct qd_error *err)
{
    float *w = qd_arena_array(arena, (size_t)n * (size_t)k, sizeof(float));
    int height = in->n_dims == 4 ? (int)in->dims[2] : 1, width = in->n_dims == 4 ? (int)in->dims[3] : 1;

    if (!w)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
    for (int o = 0; o < n; o++)
        for (int i = 0; i < k; i++)
            w[(size_t)o * (size_t)k + (size_t)i] =
                alpha * (transposed ? b[(size_t)o * (size_t)k + (size_t)i] : b[(size_t)i * (size_t)n + (size_t)o]);
    *ret = (struct qd_layer){
        .window = {.kernel = {height, width}, .stride = {1, 1}, .dilation = {1, 1}},
        .group = 1,
        .c = k / (height * width),
        .h = height,
        .w = width,
        .out_h = 1,
        .out_w = 1,
        .n = n,
        .weights = w,
    };
    return QD_OK;
}

static enum qd_status layer(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                            struct qd_layer *ret, struct qd_error *err)
{
    const struct gemm_params *params = node->params;
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    const struct qd_value *c = qd_node_input(graph, node, 2);
    int n = (int)graph->values[node->outputs[0]].shape.dims[1], k = (int)row_size(params, &a->shape);
    float *bias = NULL;
    enum qd_status status;

    if (!supports_q8(graph, node))
        return qd_error_set(err, QD_UNSUPPORTED, "expected one row and constant weights");
    if (c) {
        struct qd_view view = {QD_F32, &c->shape, (void *)(uintptr_t)c->data};

        bias = qd_arena_array(arena, (size_t)n, sizeof(float));
        if (!bias)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
        for (int j = 0; j < n; j++)
            bias[j] = params->beta * c_at(&view, 0, j);
    }
    status = layer_of(&a->shape, b->data, params->trans_b != 0, params->alpha, k, n, arena, ret, err);
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
    .limits = "int8: one row and a constant matrix",
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_STEPS,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .fuses = fuses,
    .macs = macs,
    .layer = layer,
    .supports_q8 = supports_q8,
    .prepare_q8 = qd_conv_q8_prepare,
    .run_q8 = qd_conv_q8_run,
};

/* MatMul: matrices in the last two dimensions, the others broadcast. A vector is a matrix of one row or column. */
static void as_matrix(const struct qd_shape *in, bool left, struct qd_shape *ret)
{
    *ret = *in;
    if (in->n_dims != 1)
        return;
    ret->n_dims = 2;
    ret->dims[0] = left ? 1 : in->dims[0];
    ret->dims[1] = left ? in->dims[0] : 1;
}

static enum qd_status mat_mul_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    struct qd_shape sa, sb, outer_a, outer_b, out;
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status == QD_OK)
        status = qd_op_need_f32(graph, node, 1, err);
    if (status != QD_OK)
        return status;
    as_matrix(&a->shape, true, &sa);
    as_matrix(&b->shape, false, &sb);
    if (sa.n_dims < 2 || sb.n_dims < 2 || sa.dims[sa.n_dims - 1] != sb.dims[sb.n_dims - 2])
        return qd_error_set(err, QD_INVALID, "matrices %s and %s do not fit", qd_shape_text(&a->shape, text),
                            qd_shape_text(&b->shape, text2));
    outer_a = sa;
    outer_b = sb;
    outer_a.n_dims -= 2;
    outer_b.n_dims -= 2;
    status = qd_shape_broadcast(&outer_a, &outer_b, &out, err);
    if (status != QD_OK)
        return status;
    if (a->shape.n_dims != 1)
        out.dims[out.n_dims++] = sa.dims[sa.n_dims - 2];
    if (b->shape.n_dims != 1)
        out.dims[out.n_dims++] = sb.dims[sb.n_dims - 1];
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

static void mat_mul_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                            const struct qd_f32_run *run)
{
    struct qd_shape sa, sb, outer;
    int64_t m, n, k, count, index[QD_MAX_DIMS] = {0};

    (void)node;
    as_matrix(in[0].shape, true, &sa);
    as_matrix(in[1].shape, false, &sb);
    if (sb.n_dims == 2) { /* all rows of all matrices meet the same one */
        sa.dims[0] = sa.dims[sa.n_dims - 1] ? qd_shape_count(&sa) / sa.dims[sa.n_dims - 1] : 0;
        sa.dims[1] = sa.dims[sa.n_dims - 1];
        sa.n_dims = 2;
    }
    m = sa.dims[sa.n_dims - 2];
    k = sa.dims[sa.n_dims - 1];
    n = sb.dims[sb.n_dims - 1];
    outer.n_dims = (sa.n_dims > sb.n_dims ? sa.n_dims : sb.n_dims) - 2;
    count = m > 0 && n > 0 ? qd_shape_count(out[0].shape) / (m * n) : 0;
    for (int d = 0; d < outer.n_dims; d++) {
        int da = d - (outer.n_dims - (sa.n_dims - 2)), db = d - (outer.n_dims - (sb.n_dims - 2));
        int64_t x = da >= 0 ? sa.dims[da] : 1, y = db >= 0 ? sb.dims[db] : 1;

        outer.dims[d] = x > y ? x : y;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at_a = 0, at_b = 0;

        for (int d = 0; d < outer.n_dims; d++) {
            int da = d - (outer.n_dims - (sa.n_dims - 2)), db = d - (outer.n_dims - (sb.n_dims - 2));

            if (da >= 0)
                at_a = at_a * sa.dims[da] + (sa.dims[da] == 1 ? 0 : index[d]);
            if (db >= 0)
                at_b = at_b * sb.dims[db] + (sb.dims[db] == 1 ? 0 : index[d]);
        }
        qd_product_f32(run->kernels->f32, (const float *)in[0].data + at_a * m * k,
                       (const float *)in[1].data + at_b * k * n, m, n, k, (float *)out[0].data + i * m * n,
                       run->scratch);
        for (int d = outer.n_dims - 1; d >= 0 && ++index[d] == outer.dims[d]; d--)
            index[d] = 0;
    }
}

static size_t mat_mul_scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    struct qd_shape sb;

    as_matrix(&graph->values[node->inputs[1]].shape, false, &sb);
    return qd_product_scratch(sb.dims[sb.n_dims - 1], sb.dims[sb.n_dims - 2]);
}

static int64_t mat_mul_macs(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_shape *a = &graph->values[node->inputs[0]].shape;

    return qd_shape_count(&graph->values[node->outputs[0]].shape) * a->dims[a->n_dims - 1];
}

static bool mat_mul_supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    return b->data && b->shape.n_dims == 2 && a->shape.n_dims == 2 && a->shape.dims[0] == 1 &&
           a->shape.dims[1] <= QD_KERNEL_MAX_K;
}

static enum qd_status mat_mul_layer(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                                    struct qd_layer *ret, struct qd_error *err)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    if (!mat_mul_supports_q8(graph, node))
        return qd_error_set(err, QD_UNSUPPORTED, "expected one row and constant weights");
    return layer_of(&a->shape, b->data, false, 1, (int)b->shape.dims[0], (int)b->shape.dims[1], arena, ret, err);
}

const struct qd_op qd_op_mat_mul = {
    .name = "MatMul",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .limits = "int8: one row and a constant matrix; two activations run in fp32",
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_STEPS,
    .infer = mat_mul_infer,
    .scratch_f32 = mat_mul_scratch_f32,
    .run_f32 = mat_mul_run_f32,
    .fuses = fuses,
    .macs = mat_mul_macs,
    .layer = mat_mul_layer,
    .supports_q8 = mat_mul_supports_q8,
    .prepare_q8 = qd_conv_q8_prepare,
    .run_q8 = qd_conv_q8_run,
};
