#include "op/ops.h"

struct top_k_params {
    int64_t given_axis, largest, given_k;
    int axis; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct top_k_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "axis", -1, &params->given_axis, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "largest", 1, &params->largest, err);
    return status == QD_OK ? qd_node_attr_int(node, "k", 1, &params->given_k, err) : status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct top_k_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    enum qd_dtype dtype = in->dtype;
    int64_t k = params->given_k;
    int n;
    enum qd_status status = qd_op_axis(params->given_axis, out.n_dims, &params->axis, err);

    if (status == QD_OK && qd_node_input(graph, node, 1))
        status = qd_op_const_ints(graph, node, 1, 1, &k, &n, err);
    if (status != QD_OK)
        return status;
    if (dtype != QD_F32 && dtype != QD_I64)
        return qd_error_set(err, QD_UNSUPPORTED, "input 0: expected float or int64, found %s", qd_dtype_name(dtype));
    if (k < 0 || k > out.dims[params->axis])
        return qd_error_set(err, QD_INVALID, "k: expected 0..%lld, found %lld", (long long)out.dims[params->axis],
                            (long long)k);
    out.dims[params->axis] = k;
    status = qd_op_set_output(graph, node, 0, dtype, &out, err);
    return status == QD_OK ? qd_op_set_output(graph, node, 1, QD_I64, &out, err) : status;
}

/* One line of n elements, `stride` apart: the order of indices in a heap of k, worst on top. */
struct line {
    const void *data;
    enum qd_dtype dtype;
    int64_t stride;
    bool largest;
};

/* Whether element a comes before b: by value, equal ones by index. */
static bool before(const struct line *line, int64_t a, int64_t b)
{
    double x, y;

    if (line->dtype == QD_F32) {
        x = (double)((const float *)line->data)[a * line->stride];
        y = (double)((const float *)line->data)[b * line->stride];
    } else {
        x = (double)((const int64_t *)line->data)[a * line->stride];
        y = (double)((const int64_t *)line->data)[b * line->stride];
    }
    if (x < y || x > y)
        return line->largest ? x > y : x < y;
    return a < b;
}

static void sift_down(const struct line *line, int64_t *heap, int64_t at, int64_t n)
{
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        int64_t value = heap[at];

        if (child + 1 < n && before(line, heap[child], heap[child + 1]))
            child++;
        if (!before(line, heap[at], heap[child]))
            return;
        heap[at] = heap[child];
        heap[child] = value;
    }
}

/* The first k of n indices in order, into heap. */
static void choose(const struct line *line, int64_t n, int64_t k, int64_t *heap)
{
    for (int64_t i = 0; i < k; i++)
        heap[i] = i;
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        sift_down(line, heap, i, k);
    for (int64_t i = k; i < n; i++) {
        if (!before(line, i, heap[0]))
            continue;
        heap[0] = i;
        sift_down(line, heap, 0, k);
    }
    for (int64_t i = k - 1; i > 0; i--) {
        int64_t last = heap[0];

        heap[0] = heap[i];
        heap[i] = last;
        sift_down(line, heap, 0, i);
    }
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct top_k_params *params = node->params;

    return (size_t)graph->values[node->outputs[0]].shape.dims[params->axis] * sizeof(int64_t);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct top_k_params *params = node->params;
    const struct qd_shape *shape = in[0].shape;
    int64_t n = shape->dims[params->axis], k = out[0].shape->dims[params->axis], outer = 1, inner = 1;
    size_t size = qd_dtype_size(in[0].dtype);
    int64_t *heap = run->scratch;

    for (int d = 0; d < shape->n_dims; d++)
        *(d < params->axis ? &outer : &inner) *= d == params->axis ? 1 : shape->dims[d];
    for (int64_t o = 0; o < outer && k; o++) {
        for (int64_t i = 0; i < inner; i++) {
            struct line line = {(const uint8_t *)in[0].data + (size_t)(o * n * inner + i) * size, in[0].dtype, inner,
                                params->largest != 0};

            choose(&line, n, k, heap);
            for (int64_t j = 0; j < k; j++) {
                int64_t to = (o * k + j) * inner + i;

                if (in[0].dtype == QD_F32)
                    ((float *)out[0].data)[to] = ((const float *)line.data)[heap[j] * inner];
                else
                    ((int64_t *)out[0].data)[to] = ((const int64_t *)line.data)[heap[j] * inner];
                if (node->n_outputs > 1 && out[1].data)
                    ((int64_t *)out[1].data)[to] = heap[j];
            }
        }
    }
}

const struct qd_op qd_op_top_k = {
    .name = "TopK",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 2,
    .limits = "constant k; float or int64",
    .n_outputs = 2,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
};
