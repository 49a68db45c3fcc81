#include <string.h>

#include "op/q8.h"
#include "op/reduce.h"

QD_REDUCTION_ROWS(mean, double, float, 0, x, a + b)
QD_REDUCTION_ROWS(mean_i64, int64_t, int64_t, 0, x, (uint64_t)a + (uint64_t)b)

static double mean_of(double acc, int64_t count)
{
    return acc / (double)count;
}

static int64_t mean_of_i64(int64_t acc, int64_t count)
{
    return count ? acc / count : 0;
}

static const struct qd_reduction reduction = {
    .row = mean_row,
    .column = mean_column,
    .finish = mean_of,
    .row_i64 = mean_i64_row,
    .column_i64 = mean_i64_column,
    .finish_i64 = mean_of_i64,
};

static enum qd_status global_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = qd_reduce_parse(graph, node, err);
    struct qd_reduce_params *params = node->params;

    if (status != QD_OK)
        return status;
    params->keepdims = 1;
    params->n_axes = 0;
    return QD_OK;
}

static enum qd_status global_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_reduce_params *params = node->params;
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
    const struct qd_reduce_params *params = node->params;
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape;

    return in->n_dims == 4 && qd_node_input(graph, node, 0)->dtype == QD_F32 && !params->reduce[0] &&
           !params->reduce[1] && params->reduce[2] && params->reduce[3] && in->dims[2] * in->dims[3] < (1 << 23);
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
    .limits = "constant axes; int8: height and width of [1,c,h,w]",
    .flags = QD_OP_F32_OUTPUT | QD_OP_STEPS,
    .functions = &reduction,
    QD_REDUCE_FIELDS,
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
    .functions = &reduction,
    .parse = global_parse,
    .infer = global_infer,
    .scratch_f32 = qd_reduce_scratch_f32,
    .run_f32 = qd_reduce_run_f32,
    .supports_q8 = supports_q8,
    .channel_steps = channel_steps,
    .prepare_q8 = prepare_q8,
    .run_q8 = run_q8,
};
