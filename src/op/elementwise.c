#include "op/elementwise.h"

#include "op/q8.h"

enum qd_status qd_elementwise_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    struct qd_shape out;
    enum qd_status status = qd_shape_broadcast(&a->shape, &b->shape, &out, err);

    if (status != QD_OK)
        return status;
    if (a->dtype != b->dtype)
        return qd_error_set(err, QD_INVALID, "expected two tensors of one type, found %s and %s",
                            qd_dtype_name(a->dtype), qd_dtype_name(b->dtype));
    if (a->dtype != QD_F32 && a->dtype != QD_I64 && a->dtype != QD_I32)
        return qd_error_set(err, QD_UNSUPPORTED, "expected float, int32 or int64, found %s", qd_dtype_name(a->dtype));
    return qd_op_set_output(graph, node, 0, a->dtype, &out, err);
}

/* Strides of an operand over the dimensions of the result: 0 where it is broadcast. */
static void broadcast_strides(const struct qd_shape *in, const struct qd_shape *out, int64_t ret[QD_MAX_DIMS])
{
    int64_t strides[QD_MAX_DIMS];
    int shift = out->n_dims - in->n_dims;

    qd_shape_strides(in, strides);
    for (int d = 0; d < out->n_dims; d++)
        ret[d] = d < shift || in->dims[d - shift] == 1 ? 0 : strides[d - shift];
}

static void run_row(const struct qd_elementwise *params, enum qd_dtype dtype, const void *a, int64_t stride_a,
                    const void *b, int64_t stride_b, void *y, int64_t n)
{
    if (dtype == QD_F32) {
        params->f32_row(a, stride_a, b, stride_b, y, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (dtype == QD_I64)
            ((int64_t *)y)[i] = params->i64(((const int64_t *)a)[i * stride_a], ((const int64_t *)b)[i * stride_b]);
        else
            ((int32_t *)y)[i] =
                (int32_t)params->i64(((const int32_t *)a)[i * stride_a], ((const int32_t *)b)[i * stride_b]);
    }
}

/* Dimensions that both operands walk through in one stride become one: rows get long. */
static void merge_dimensions(struct qd_shape *shape, int64_t sa[QD_MAX_DIMS], int64_t sb[QD_MAX_DIMS])
{
    int n = 0;

    for (int d = 0; d < shape->n_dims; d++) {
        int64_t size = shape->dims[d];
        bool joins = n && sa[n - 1] == size * sa[d] && sb[n - 1] == size * sb[d];

        if (size == 1 && shape->n_dims > 1 && d < shape->n_dims - 1)
            continue;
        n = joins ? n - 1 : n;
        shape->dims[n] = joins ? shape->dims[n] * size : size;
        sa[n] = sa[d];
        sb[n++] = sb[d];
    }
    shape->n_dims = n;
}

void qd_elementwise_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                            const struct qd_f32_run *run)
{
    struct qd_shape shape = *out[0].shape;
    int64_t sa[QD_MAX_DIMS], sb[QD_MAX_DIMS], index[QD_MAX_DIMS] = {0}, count = qd_shape_count(&shape), at_a, at_b, row;
    size_t size = qd_dtype_size(out[0].dtype);
    int last;

    (void)run;
    broadcast_strides(in[0].shape, &shape, sa);
    broadcast_strides(in[1].shape, &shape, sb);
    merge_dimensions(&shape, sa, sb);
    last = shape.n_dims - 1;
    row = last >= 0 ? shape.dims[last] : 1;
    for (int64_t done = 0; done < count; done += row) {
        at_a = at_b = 0;
        for (int d = 0; d < last; d++) {
            at_a += index[d] * sa[d];
            at_b += index[d] * sb[d];
        }
        run_row(node->params, out[0].dtype, (const uint8_t *)in[0].data + (size_t)at_a * size, last >= 0 ? sa[last] : 0,
                (const uint8_t *)in[1].data + (size_t)at_b * size, last >= 0 ? sb[last] : 0,
                (uint8_t *)out[0].data + (size_t)done * size, row);
        for (int d = last - 1; d >= 0 && ++index[d] == shape.dims[d]; d--)
            index[d] = 0;
    }
}

/* 1 for a scalar, c for one value per channel, 0 for neither. */
static int64_t n_constants(const struct qd_value *constant, const struct qd_shape *out)
{
    int64_t count = qd_shape_count(&constant->shape), strides[QD_MAX_DIMS];
    int channel = out->n_dims == 4 ? 1 : out->n_dims - 1;

    if (!constant->data || constant->dtype != QD_F32)
        return 0;
    if (count == 1)
        return 1;
    if (channel < 0 || count != out->dims[channel])
        return 0;
    broadcast_strides(&constant->shape, out, strides);
    return strides[channel] == 1 ? count : 0;
}

bool qd_elementwise_is_line(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    const struct qd_shape *out = &graph->values[node->outputs[0]].shape;

    return !a->data && n_constants(b, out) > 0 && qd_shape_equal(&a->shape, out);
}

struct line_context {
    const struct qd_elementwise *params;
    const float *constants;
    bool one;
};

static void line_of(const void *context, int c, double *ret_mult, double *ret_add)
{
    const struct line_context *l = context;

    l->params->line((double)l->constants[l->one ? 0 : c], ret_mult, ret_add);
}

enum qd_status qd_elementwise_prepare_line(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_value *constant = qd_node_input(prepare->graph, prepare->node, 1);
    const struct qd_shape *out = &prepare->graph->values[prepare->node->outputs[0]].shape;
    struct line_context context = {prepare->node->params, constant->data, n_constants(constant, out) == 1};

    return qd_q8_lines_prepare(prepare, line_of, &context, err);
}

bool qd_elementwise_fuses(const struct qd_node *node, const struct qd_activation *act)
{
    (void)node;
    return act->kind == QD_ACT_CLIP;
}
