#include "op/reduce.h"

#include <math.h>
#include <string.h>

enum qd_status qd_reduce_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_reduce_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "keepdims", 1, &params->keepdims, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "noop_with_empty_axes", 0, &params->noop, err);
    if (status == QD_OK)
        status = qd_node_attr_ints(node, "axes", &params->axes, &params->n_axes, err);
    return status;
}

static enum qd_status check_type(const struct qd_reduction *reduction, enum qd_dtype dtype, struct qd_error *err)
{
    bool is_integer = dtype == QD_I32 || dtype == QD_I64;

    if (dtype == QD_F32 || (reduction->row_i64 && (is_integer || reduction->takes_bytes)))
        return QD_OK;
    return qd_error_set(err, QD_UNSUPPORTED, "input 0: expected %s, found %s",
                        reduction->row_i64 ? "float, int32 or int64" : "float", qd_dtype_name(dtype));
}

/* Which dimensions: those of input 1 where it is there, of the attribute where not; none named are all, or none. */
static enum qd_status find_axes(const struct qd_graph *graph, const struct qd_node *node, int n_dims,
                                struct qd_error *err)
{
    struct qd_reduce_params *params = node->params;
    int64_t values[QD_MAX_DIMS];
    const int64_t *axes = params->axes;
    int n_axes = params->n_axes, axis;
    enum qd_status status = QD_OK;

    if (qd_node_input(graph, node, 1)) {
        status = qd_op_const_ints(graph, node, 1, QD_MAX_DIMS, values, &n_axes, err);
        axes = values;
    }
    for (int d = 0; d < n_dims; d++)
        params->reduce[d] = n_axes == 0 && !params->noop;
    for (int i = 0; i < n_axes && status == QD_OK; i++) {
        status = qd_op_axis(axes[i], n_dims, &axis, err);
        if (status == QD_OK)
            params->reduce[axis] = true;
    }
    params->noop = params->noop && n_axes == 0;
    return status;
}

enum qd_status qd_reduce_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_reduce_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = {0};
    enum qd_status status = check_type(node->op->functions, in->dtype, err);

    if (status == QD_OK)
        status = find_axes(graph, node, in->shape.n_dims, err);
    if (status != QD_OK)
        return status;
    for (int d = 0; d < in->shape.n_dims; d++) {
        if (!params->reduce[d])
            out.dims[out.n_dims++] = in->shape.dims[d];
        else if (params->keepdims)
            out.dims[out.n_dims++] = 1;
    }
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

size_t qd_reduce_scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    return (size_t)qd_shape_count(&graph->values[node->outputs[0]].shape) * sizeof(double) + 1;
}

/* The dimensions, with those side by side that are both reduced or both kept as one. */
struct walk {
    int n;
    int64_t dims[QD_MAX_DIMS];
    bool reduce[QD_MAX_DIMS];
};

static struct walk walk_of(const struct qd_reduce_params *params, const struct qd_shape *shape)
{
    struct walk w = {1, {1}, {true}};

    for (int d = 0; d < shape->n_dims; d++) {
        if (shape->dims[d] == 1)
            continue;
        if (w.dims[w.n - 1] != 1 && w.reduce[w.n - 1] != params->reduce[d])
            w.dims[w.n++] = 1;
        w.dims[w.n - 1] *= shape->dims[d];
        w.reduce[w.n - 1] = params->reduce[d];
    }
    return w;
}

#define CHUNK 256

/* n elements of any type of integer, from x on, into the accumulators; all into the first where into_one. */
static void take_integers(const struct qd_reduction *r, int64_t *acc, bool into_one, const struct qd_view *in,
                          int64_t x, int64_t n)
{
    int64_t values[CHUNK];

    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t m = n - first < CHUNK ? n - first : CHUNK;

        for (int64_t i = 0; i < m; i++)
            values[i] = qd_element_i64(in->data, in->dtype, x + first + i);
        if (into_one)
            *acc = r->row_i64(*acc, values, m);
        else
            r->column_i64(acc + first, values, m);
    }
}

/* acc: doubles, or int64 where the input is no float. */
static void accumulate(const struct qd_reduction *r, const struct walk *w, const struct qd_view *in, void *acc)
{
    int64_t row = w->dims[w->n - 1], rows = 1, index[QD_MAX_DIMS] = {0};
    bool into_one = w->reduce[w->n - 1];

    for (int d = 0; d < w->n - 1; d++)
        rows *= w->dims[d];
    for (int64_t i = 0; i < rows && row > 0; i++) {
        int64_t at = 0;

        for (int d = 0; d < w->n - 1; d++)
            if (!w->reduce[d])
                at = at * w->dims[d] + index[d];
        at *= into_one ? 1 : row;
        if (in->dtype != QD_F32)
            take_integers(r, (int64_t *)acc + at, into_one, in, i * row, row);
        else if (into_one)
            ((double *)acc)[at] = r->row(((double *)acc)[at], (const float *)in->data + i * row, row);
        else
            r->column((double *)acc + at, (const float *)in->data + i * row, row);
        for (int d = w->n - 2; d >= 0 && ++index[d] == w->dims[d]; d--)
            index[d] = 0;
    }
}

static void put_integer(const struct qd_view *out, int64_t i, int64_t value)
{
    if (out->dtype == QD_I64)
        ((int64_t *)out->data)[i] = value;
    else if (out->dtype == QD_I32)
        ((int32_t *)out->data)[i] = (int32_t)value;
    else
        ((uint8_t *)out->data)[i] = (uint8_t)value;
}

void qd_reduce_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    const struct qd_reduction *r = node->op->functions;
    const struct qd_reduce_params *params = node->params;
    const struct walk w = walk_of(params, in[0].shape);
    int64_t n_out = qd_shape_count(out[0].shape), count = 1, *integers = run->scratch;
    double *floats = run->scratch;

    if (params->noop) {
        memcpy(out[0].data, in[0].data, (size_t)n_out * qd_dtype_size(out[0].dtype));
        return;
    }
    for (int d = 0; d < in[0].shape->n_dims; d++)
        count *= params->reduce[d] ? in[0].shape->dims[d] : 1;
    for (int64_t i = 0; i < n_out; i++) {
        if (in[0].dtype == QD_F32)
            floats[i] = r->identity;
        else
            integers[i] = r->identity_i64;
    }
    accumulate(r, &w, &in[0], run->scratch);
    for (int64_t i = 0; i < n_out; i++) {
        if (in[0].dtype == QD_F32)
            ((float *)out[0].data)[i] = (float)(r->finish ? r->finish(floats[i], count) : floats[i]);
        else
            put_integer(&out[0], i, r->finish_i64 ? r->finish_i64(integers[i], count) : integers[i]);
    }
}

static double log_of(double acc, int64_t count)
{
    (void)count;
    return log(acc);
}

static double root_of(double acc, int64_t count)
{
    (void)count;
    return sqrt(acc);
}

static int64_t root_of_i64(int64_t acc, int64_t count)
{
    (void)count;
    return (int64_t)sqrt((double)acc);
}

/* log(exp(a) + exp(b)) without overflow. */
static inline double log_add(double a, double b)
{
    double larger = a > b || isnan(a) ? a : b;

    return isinf(larger) ? larger : larger + log1p(exp(-fabs(a - b)));
}

QD_REDUCTION_ROWS(sum, double, float, 0, x, a + b)
QD_REDUCTION_ROWS(sum_i64, int64_t, int64_t, 0, x, (uint64_t)a + (uint64_t)b)
QD_REDUCTION_ROWS(l1, double, float, 0, fabs(x), a + b)
QD_REDUCTION_ROWS(l1_i64, int64_t, int64_t, 0, x < 0 ? 0 - (uint64_t)x : (uint64_t)x, (uint64_t)a + (uint64_t)b)
QD_REDUCTION_ROWS(squares, double, float, 0, x *x, a + b)
QD_REDUCTION_ROWS(squares_i64, int64_t, int64_t, 0, (uint64_t)x *(uint64_t)x, (uint64_t)a + (uint64_t)b)
QD_REDUCTION_ROWS(product, double, float, 1, x, a *b)
QD_REDUCTION_ROWS(product_i64, int64_t, int64_t, 1, x, (uint64_t)a *(uint64_t)b)
QD_REDUCTION_ROWS(max, double, float, -INFINITY, x, a > b || a != a ? a : b)
QD_REDUCTION_ROWS(max_i64, int64_t, int64_t, INT64_MIN, x, a > b ? a : b)
QD_REDUCTION_ROWS(min, double, float, INFINITY, x, a < b || a != a ? a : b)
QD_REDUCTION_ROWS(min_i64, int64_t, int64_t, INT64_MAX, x, a < b ? a : b)
QD_REDUCTION_ROWS(log_sum_exp, double, float, -INFINITY, x, log_add(a, b))

#define FLOATS(name) .row = name##_row, .column = name##_column
#define INTEGERS(name) .row_i64 = name##_i64_row, .column_i64 = name##_i64_column

#define REDUCE_OP(symbol, onnx_name, ...)                                                                              \
    static const struct qd_reduction symbol##_reduction = {__VA_ARGS__};                                               \
    const struct qd_op qd_op_##symbol = {                                                                              \
        .name = onnx_name, .limits = "constant axes", .functions = &symbol##_reduction, QD_REDUCE_FIELDS}

REDUCE_OP(reduce_l1, "ReduceL1", FLOATS(l1), INTEGERS(l1));
REDUCE_OP(reduce_l2, "ReduceL2", FLOATS(squares), INTEGERS(squares), .finish = root_of, .finish_i64 = root_of_i64);
REDUCE_OP(reduce_log_sum, "ReduceLogSum", FLOATS(sum), .finish = log_of);
REDUCE_OP(reduce_log_sum_exp, "ReduceLogSumExp", FLOATS(log_sum_exp), .identity = -INFINITY);
REDUCE_OP(reduce_max, "ReduceMax", FLOATS(max), INTEGERS(max), .identity = -INFINITY, .identity_i64 = INT64_MIN,
          .takes_bytes = true);
REDUCE_OP(reduce_min, "ReduceMin", FLOATS(min), INTEGERS(min), .identity = INFINITY, .identity_i64 = INT64_MAX,
          .takes_bytes = true);
REDUCE_OP(reduce_prod, "ReduceProd", FLOATS(product), INTEGERS(product), .identity = 1, .identity_i64 = 1);
REDUCE_OP(reduce_sum, "ReduceSum", FLOATS(sum), INTEGERS(sum));
REDUCE_OP(reduce_sum_square, "ReduceSumSquare", FLOATS(squares), INTEGERS(squares));
