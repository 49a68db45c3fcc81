#include "op/ops.h"

struct cum_sum_params {
    int64_t exclusive, reverse;
    int64_t outer, n, inner; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct cum_sum_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "exclusive", 0, &params->exclusive, err);
    return status == QD_OK ? qd_node_attr_int(node, "reverse", 0, &params->reverse, err) : status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct cum_sum_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    int64_t wanted = 0;
    int n, axis;
    enum qd_status status;

    if (in->dtype != QD_F32 && in->dtype != QD_I32 && in->dtype != QD_I64)
        return qd_error_set(err, QD_UNSUPPORTED, "input 0: expected float, int32 or int64, found %s",
                            qd_dtype_name(in->dtype));
    status = qd_op_const_ints(graph, node, 1, 1, &wanted, &n, err);
    if (status == QD_OK)
        status = qd_op_axis(wanted, in->shape.n_dims, &axis, err);
    if (status != QD_OK)
        return status;
    params->outer = params->inner = 1;
    params->n = in->shape.dims[axis];
    for (int d = 0; d < in->shape.n_dims; d++) {
        params->outer *= d < axis ? in->shape.dims[d] : 1;
        params->inner *= d > axis ? in->shape.dims[d] : 1;
    }
    return qd_op_infer_same(graph, node, err);
}

/* From `at` on, n elements, stride apart (negative: backwards). */
#define SUM_ALONG(name, type, sum_type)                                                                                \
    static void name(const type *x, type *y, int64_t n, int64_t stride, bool exclusive)                                \
    {                                                                                                                  \
        sum_type sum = 0;                                                                                              \
                                                                                                                       \
        for (int64_t j = 0; j < n; j++) {                                                                              \
            sum_type next = sum + (sum_type)x[j * stride];                                                             \
                                                                                                                       \
            y[j * stride] = (type)(exclusive ? sum : next);                                                            \
            sum = next;                                                                                                \
        }                                                                                                              \
    }

SUM_ALONG(sum_f32, float, double)
SUM_ALONG(sum_i32, int32_t, uint64_t)
SUM_ALONG(sum_i64, int64_t, uint64_t)

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct cum_sum_params *params = node->params;
    int64_t n = params->n, inner = params->inner, stride = params->reverse ? -inner : inner;
    bool exclusive = params->exclusive != 0;

    (void)run;
    for (int64_t i = 0; i < params->outer * inner; i++) {
        int64_t at = i / inner * n * inner + i % inner + (params->reverse ? (n - 1) * inner : 0);

        if (in[0].dtype == QD_F32)
            sum_f32((const float *)in[0].data + at, (float *)out[0].data + at, n, stride, exclusive);
        else if (in[0].dtype == QD_I32)
            sum_i32((const int32_t *)in[0].data + at, (int32_t *)out[0].data + at, n, stride, exclusive);
        else
            sum_i64((const int64_t *)in[0].data + at, (int64_t *)out[0].data + at, n, stride, exclusive);
    }
}

const struct qd_op qd_op_cum_sum = {
    .name = "CumSum",
    .limits = "a constant axis",
    .min_opset = 11,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};
