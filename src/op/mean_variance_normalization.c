#include <math.h>
#include <string.h>

#include "op/ops.h"

struct mvn_params {
    bool reduce[QD_MAX_DIMS]; /* set by infer */
    const int64_t *axes;
    int n_axes;
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const int64_t but_channels[] = {0, 2, 3};
    struct mvn_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_ints(node, "axes", &params->axes, &params->n_axes, err);
    if (status == QD_OK && !params->axes) {
        params->axes = but_channels;
        params->n_axes = 3;
    }
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct mvn_params *params = node->params;
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);
    int axis;

    for (int d = 0; d < QD_MAX_DIMS; d++)
        params->reduce[d] = false;
    for (int i = 0; i < params->n_axes && status == QD_OK; i++) {
        status = qd_op_axis(params->axes[i], qd_node_input(graph, node, 0)->shape.n_dims, &axis, err);
        if (status == QD_OK)
            params->reduce[axis] = true;
    }
    return status == QD_OK ? qd_op_infer_same(graph, node, err) : status;
}

/* What is normalized together: so many groups. */
static int64_t count_groups(const struct mvn_params *params, const struct qd_shape *shape)
{
    int64_t n = 1;

    for (int d = 0; d < shape->n_dims; d++)
        n *= params->reduce[d] ? 1 : shape->dims[d];
    return n;
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    return 2 * sizeof(double) * (size_t)count_groups(node->params, &graph->values[node->inputs[0]].shape);
}

/* The group of the element at index, which then steps on. */
static int64_t next_group(const struct mvn_params *params, const struct qd_shape *shape, int64_t *index)
{
    int64_t group = 0;

    for (int d = 0; d < shape->n_dims; d++)
        if (!params->reduce[d])
            group = group * shape->dims[d] + index[d];
    for (int d = shape->n_dims - 1; d >= 0 && ++index[d] == shape->dims[d]; d--)
        index[d] = 0;
    return group;
}

/* (x - mean) / (deviation + 1e-9), as ONNX defines it. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct mvn_params *params = node->params;
    const struct qd_shape *shape = in[0].shape;
    int64_t n_groups = count_groups(params, shape), n = qd_shape_count(shape), index[QD_MAX_DIMS] = {0};
    double *mean = run->scratch, *squares = mean + n_groups, size = (double)n / (double)n_groups;
    const float *x = in[0].data;
    float *y = out[0].data;

    memset(mean, 0, 2 * sizeof(double) * (size_t)n_groups);
    for (int64_t i = 0; i < n; i++)
        mean[next_group(params, shape, index)] += (double)x[i] / size;
    for (int64_t i = 0; i < n; i++) {
        int64_t group = next_group(params, shape, index);

        squares[group] += ((double)x[i] - mean[group]) * ((double)x[i] - mean[group]);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t group = next_group(params, shape, index);

        y[i] = (float)(((double)x[i] - mean[group]) / (sqrt(squares[group] / size) + 1e-9));
    }
}

const struct qd_op qd_op_mean_variance_normalization = {
    .name = "MeanVarianceNormalization",
    .min_opset = 9,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
};
