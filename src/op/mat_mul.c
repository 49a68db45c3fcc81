/*
 * MatMul, and quantd.Linear: rows against a constant matrix, plus a constant row, which passes make of MatMul and what
 * stands behind it.
 */
#include "op/conv_q8.h"
#include "op/ops.h"
#include "op/product.h"

/* Matrices in the last two dimensions, the others broadcast. A vector is a matrix of one row or column. */
static void as_matrix(const struct qd_shape *in, bool left, struct qd_shape *ret)
{
    *ret = *in;
    if (in->n_dims != 1)
        return;
    ret->n_dims = 2;
    ret->dims[0] = left ? 1 : in->dims[0];
    ret->dims[1] = left ? in->dims[0] : 1;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
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

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
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

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    struct qd_shape sb;

    as_matrix(&graph->values[node->inputs[1]].shape, false, &sb);
    return qd_product_scratch(sb.dims[sb.n_dims - 1], sb.dims[sb.n_dims - 2]);
}

static int64_t macs(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_shape *a = &graph->values[node->inputs[0]].shape;

    return qd_shape_count(&graph->values[node->outputs[0]].shape) * a->dims[a->n_dims - 1];
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    return b->data && b->shape.n_dims == 2 && !qd_value_is_picture(a) && qd_product_supports_q8(a, b->shape.dims[0]);
}

static enum qd_status layer(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                            struct qd_layer *ret, struct qd_error *err)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    struct qd_product_matrix matrix = {.b = b->data, .alpha = 1};

    if (!supports_q8(graph, node))
        return qd_error_set(err, QD_UNSUPPORTED, "expected rows and a constant matrix");
    matrix.k = b->shape.dims[0];
    matrix.n = b->shape.dims[1];
    return qd_product_layer(a, &matrix, arena, ret, err);
}

const struct qd_op qd_op_mat_mul = {
    .name = "MatMul",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .limits = "int8: a constant matrix of rank 2; two activations run in fp32",
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_STEPS | QD_OP_ROWS,
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

static void linear_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                           const struct qd_f32_run *run)
{
    int64_t n = in[2].shape->dims[0], rows = qd_shape_count(out[0].shape) / n;
    const float *bias = in[2].data;
    float *y = out[0].data;

    run_f32(node, in, out, run);
    for (int64_t r = 0; r < rows; r++, y += n)
        for (int64_t j = 0; j < n; j++)
            y[j] += bias[j];
}

static enum qd_status linear_layer(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                                   struct qd_layer *ret, struct qd_error *err)
{
    enum qd_status status = layer(graph, node, arena, ret, err);

    if (status == QD_OK)
        ret->bias = graph->values[node->inputs[2]].data;
    return status;
}

/* Inputs: rows [.., k], constant [k][n] and [n]. */
const struct qd_op qd_op_linear = {
    .name = "quantd.Linear",
    .min_opset = 1,
    .max_opset = 1000,
    .min_inputs = 3,
    .max_inputs = 3,
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_RESIDUAL | QD_OP_STEPS | QD_OP_ROWS,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = linear_run_f32,
    .fuses = qd_conv_q8_fuses,
    .macs = macs,
    .layer = linear_layer,
    .supports_q8 = supports_q8,
    .prepare_q8 = qd_conv_q8_prepare,
    .run_q8 = qd_conv_q8_run,
};
