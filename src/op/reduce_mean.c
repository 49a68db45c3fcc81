#include <string.h>

#include "op/ops.h"
#include "op/q8.h"

struct reduce_params {
    bool reduce[QD_MAX_DIMS]; /* set by infer */
    int64_t keepdims;
    const int64_t *axes;
    int n_axes;
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct reduce_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "keepdims", 1, &params->keepdims, err);
    if (status == QD_OK)
        status = qd_node_attr_ints(node, "axes", &params->axes, &params->n_axes, err);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct reduce_params *params = node->params;
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape;
    struct qd_shape out = {0};
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);
    int axis;

    for (int d = 0; d < in->n_dims; d++)
        params->reduce[d] = params->n_axes == 0;
    for (int i = 0; i < params->n_axes && status == QD_OK; i++) {
        status = qd_op_axis(params->axes[i], in->n_dims, &axis, err);
        if (status == QD_OK)
            params->reduce[axis] = true;
    }
    if (status != QD_OK)
        return status;
    for (int d = 0; d < in->n_dims; d++) {
        if (!params->reduce[d])
            out.dims[out.n_dims++] = in->dims[d];
        else if (params->keepdims)
            out.dims[out.n_dims++] = 1;
    }
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

static enum qd_status global_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = parse(graph, node, err);
    struct reduce_params *params = node->params;

    if (status != QD_OK)
        return status;
    params->keepdims = 1;
    params->n_axes = 0;
    return QD_OK;
}

static enum qd_status global_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct reduce_params *params = node->params;
    struct qd_shape out = qd_node_input(graph, node, 0)->shape;
    char text[QD_SHAPE_TEXT_SIZE];
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status != QD_OK)
        return status;
    if (out.n_dims < 3)
        return qd_error_set(err, QD_INVALID, "expected [n,c,...], found %s", qd_shape_text(&out, text));
    for (int d = 2; d < out.n_dims; d++) {
        params->reduce[d] = true;
        out.dims[d] = 1;
    }
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

/* The sum of a row, in double, as eight that take every eighth element: vectors of a fixed size on every CPU. */
static double sum_row(const float *x, int64_t n)
{
    double sums[8] = {0};
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            sums[j] += (double)x[i + j];
    for (; i < n; i++)
        sums[i % 8] += (double)x[i];
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/* The dimensions that are reduced are the last ones. */
static bool reduces_rows(const struct reduce_params *params, int n_dims)
{
    for (int d = 1; d < n_dims; d++)
        if (params->reduce[d - 1] && !params->reduce[d])
            return false;
    return true;
}

/* Any dimensions, one element after the other. */
static void sum_elements(const struct reduce_params *params, const struct qd_shape *shape, const float *x, double *sums)
{
    int64_t count = qd_shape_count(shape), index[QD_MAX_DIMS] = {0};

    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0;

        for (int d = 0; d < shape->n_dims; d++)
            if (!params->reduce[d])
                at = at * shape->dims[d] + index[d];
        sums[at] += (double)x[i];
        for (int d = shape->n_dims - 1; d >= 0 && ++index[d] == shape->dims[d]; d--)
            index[d] = 0;
    }
}

/* Sums in double: long rows of large values keep their low bits, and the order does not show. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct reduce_params *params = node->params;
    int64_t count = qd_shape_count(in[0].shape), n_out = qd_shape_count(out[0].shape), row = n_out ? count / n_out : 0;
    double *sums = run->scratch;
    const float *x = in[0].data;
    float *y = out[0].data;

    memset(sums, 0, (size_t)n_out * sizeof(double));
    if (!reduces_rows(params, in[0].shape->n_dims))
        sum_elements(params, in[0].shape, x, sums);
    else
        for (int64_t i = 0; i < n_out; i++)
            sums[i] = sum_row(x + i * row, row);
    for (int64_t i = 0; i < n_out; i++)
        y[i] = (float)(sums[i] * (double)n_out / (double)count);
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    return (size_t)qd_shape_count(&graph->values[node->outputs[0]].shape) * sizeof(double);
}

/* A cache line of channels: what threads share. */
#define BLOCK_C 64

static bool channel_steps(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    (void)graph;
    (void)node;
    return i == 0;
}

struct mean_q8 {
    const struct qd_kernels *kernels;
    int64_t pixels, row; /* row: pixels that steps.x is between, all where there are no gaps */
    struct qd_steps steps;
    int c, in_zero;
    float *channel_mult; /* [c], where the input has steps per channel: mult with them; else NULL */
    bool output_f32;
    float mult, zero;
    uint8_t max;
};

/* Quantized where exactly height and width of [1,c,h,w] are reduced. */
static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct reduce_params *params = node->params;
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape;

    return in->n_dims == 4 && !params->reduce[0] && !params->reduce[1] && params->reduce[2] && params->reduce[3] &&
           in->dims[2] * in->dims[3] < (1 << 23);
}

/* From a sum of pixels to steps of the output, or to real values. step: of the channel. */
static float mean_multiplier(const struct qd_q8_prepare *prepare, const struct mean_q8 *mean, double step)
{
    double ratio = (double)qd_q8_input(prepare, 0).scale * step;

    if (!prepare->output_f32)
        ratio = (double)qd_q8_multiplier(prepare->graph, ratio / (double)qd_q8_output(prepare).scale);
    return (float)(ratio / (double)mean->pixels);
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_shape *in = &prepare->graph->values[prepare->node->inputs[0]].shape;
    struct qd_qparams q_in = qd_q8_input(prepare, 0), q_out = qd_q8_output(prepare);
    struct mean_q8 *mean = qd_arena_alloc(prepare->arena, sizeof(*mean));
    const float *steps = prepare->graph->values[prepare->node->inputs[0]].channel_steps;

    if (!mean)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a mean");
    mean->kernels = prepare->kernels;
    mean->pixels = in->dims[2] * in->dims[3];
    mean->c = (int)in->dims[1];
    mean->steps = prepare->in_steps[0];
    mean->row = mean->steps.y == in->dims[3] * mean->steps.x ? mean->pixels : in->dims[3];
    mean->in_zero = q_in.zero_point;
    /* The scales' ratio is a requantisation multiplier, the number of pixels a division. */
    mean->mult = mean_multiplier(prepare, mean, 1);
    if (steps) {
        mean->channel_mult = qd_arena_array(prepare->arena, (size_t)mean->c, sizeof(float));
        if (!mean->channel_mult)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for a mean");
        mean->mult = 1;
    }
    for (int c = 0; steps && c < mean->c; c++)
        mean->channel_mult[c] = mean_multiplier(prepare, mean, (double)steps[c]);
    mean->zero = prepare->output_f32 ? 0 : (float)q_out.zero_point;
    mean->max = (uint8_t)qd_q8_max(q_out);
    mean->output_f32 = prepare->output_f32;
    prepare->prepared = mean;
    prepare->scratch_size = BLOCK_C * (sizeof(int32_t) + sizeof(float)) + QD_KERNEL_SLACK;
    return QD_OK;
}

/* Channels [begin, begin + n) of one image. */
static void run_block(const struct mean_q8 *mean, const uint8_t *in, void *out, int begin, int n, int32_t *sums)
{
    float *values = mean->output_f32 ? (float *)out + begin : (float *)(void *)(sums + BLOCK_C);

    memset(sums, 0, (size_t)n * sizeof(int32_t));
    for (int64_t y = 0; y < mean->pixels; y += mean->row)
        mean->kernels->sum_rows(in + y / mean->row * mean->steps.y + begin, mean->steps.x, (size_t)mean->row, n, sums);
    for (int c = 0; c < n; c++)
        values[c] = (float)(sums[c] - (int32_t)mean->pixels * mean->in_zero);
    for (int c = 0; c < n && mean->channel_mult; c++)
        values[c] *= mean->channel_mult[begin + c];
    if (mean->output_f32) {
        for (int c = 0; c < n; c++)
            values[c] *= mean->mult;
        return;
    }
    mean->kernels->quantize(values, (uint8_t *)out + begin, (size_t)n, mean->mult, mean->zero);
    for (int c = begin; mean->max < 255 && c < begin + n; c++)
        ((uint8_t *)out)[c] = ((uint8_t *)out)[c] < mean->max ? ((uint8_t *)out)[c] : mean->max;
}

/* Shared by blocks of channels, so that several threads work on one image too. */
static void run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct mean_q8 *mean = run->prepared;
    int64_t n_blocks = (mean->c + BLOCK_C - 1) / BLOCK_C, begin, end;

    qd_share(n_blocks * run->n_images, thread, n_threads, &begin, &end);
    for (; begin < end; begin++) {
        size_t image = (size_t)(begin / n_blocks);
        int c = (int)(begin % n_blocks) * BLOCK_C, n = mean->c - c < BLOCK_C ? mean->c - c : BLOCK_C;

        run_block(mean, run->inputs[0] + image * run->input_pitch[0],
                  (uint8_t *)run->outputs[0] + image * run->output_pitch[0], c, n, run->scratch);
    }
}

const struct qd_op qd_op_reduce_mean = {
    .name = "ReduceMean",
    .min_opset = 7,
    .max_opset = 17,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_STEPS,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .channel_steps = channel_steps,
    .prepare_q8 = prepare_q8,
    .run_q8 = run_q8,
};

const struct qd_op qd_op_global_average_pool = {
    .name = "GlobalAveragePool",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_F32_OUTPUT | QD_OP_STEPS,
    .parse = global_parse,
    .infer = global_infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .channel_steps = channel_steps,
    .prepare_q8 = prepare_q8,
    .run_q8 = run_q8,
};
