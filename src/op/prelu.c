/* A leaky Relu with its slope per channel, or per element; with one constant slope it is a LeakyRelu. */
#include <math.h>

#include "op/elementwise.h"

/* A sum of both sides, one of which is 0: the compiler may not multiply what it would throw away, so no vectors else.
 */
QD_ROW_2(prelu_f32, float, float, (a > 0 ? a : 0) + b * (a > 0 ? 0 : a))
QD_INTEGER_ROWS_2(prelu, a < 0 ? (uint64_t)a * (uint64_t)b : (uint64_t)a)

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    const struct qd_value *slope = qd_node_input(graph, node, 1);

    if (!slope->data || slope->dtype != QD_F32 || qd_shape_count(&slope->shape) != 1)
        return false;
    *ret = (struct qd_activation){.kind = QD_ACT_LEAKY, .alpha = *(const float *)slope->data};
    return ret->alpha >= 0 && ret->alpha <= 1;
}

/* A constant slope per channel of [1,c,h,w]. */
static bool has_slopes(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *slope = qd_node_input(graph, node, 1);

    return !a->data && slope->data && slope->dtype == QD_F32 && a->shape.n_dims == 4 && slope->shape.n_dims >= 3 &&
           slope->shape.dims[slope->shape.n_dims - 3] == a->shape.dims[1] &&
           qd_shape_count(&slope->shape) == a->shape.dims[1];
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return has_slopes(graph, node) || qd_elementwise_supports_q8(graph, node);
}

/* Both of its lines are in steps of the channel, which go into the multipliers. */
static bool channel_steps(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    return i <= 0 && has_slopes(graph, node);
}

/* Pixels that are done at once: what lies in scratch stays in the cache. */
#define BLOCK_BYTES 8192

/* The line of the positive inputs, and that of the negative ones. */
struct prelu_q8 {
    const struct qd_kernels *kernels;
    struct qd_affine_params lines[2];
    struct qd_q8_pixels pixels;
    int64_t block;
    uint8_t zero; /* the byte of 0 */
};

struct prelu_run {
    const struct prelu_q8 *prelu;
    uint8_t *scratch;
};

static void prelu_pixels(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n)
{
    const struct prelu_run *run = context;
    const struct prelu_q8 *prelu = run->prelu;
    const int64_t c = prelu->pixels.c;
    const uint8_t zero = prelu->zero, *negative = run->scratch;
    uint8_t *positive = run->scratch + prelu->block * c;

    (void)image;
    for (int64_t first = 0; first < n; first += prelu->block) {
        int64_t m = n - first < prelu->block ? n - first : prelu->block;
        const uint8_t *x = in[0] + first * c;
        uint8_t *y = out + first * c;

        for (int i = 0; i < 2; i++) {
            struct qd_affine_params line = prelu->lines[i];

            line.in = x;
            line.out = i ? run->scratch : positive;
            line.m = (size_t)m;
            prelu->kernels->affine(&line);
        }
        for (int64_t j = 0; j < m * c; j++)
            y[j] = x[j] < zero ? negative[j] : positive[j];
    }
}

static void prelu_run(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct prelu_q8 *prelu = run->prepared;
    const struct prelu_run context = {prelu, run->scratch};

    qd_q8_pixels_run(&prelu->pixels, run, thread, n_threads, prelu_pixels, &context);
}

/* y = x * slope: in bytes, with both zero points. */
static enum qd_status set_line(const struct qd_q8_prepare *prepare, int c, double slope, float *ret_mult,
                               float *ret_offset, struct qd_error *err)
{
    struct qd_qparams in = qd_q8_channel(prepare->graph, prepare->node->inputs[0], c);
    struct qd_qparams out = qd_q8_channel(prepare->graph, prepare->node->outputs[0], c);
    double mult = (double)qd_q8_multiplier(prepare->graph, slope * (double)in.scale / (double)out.scale);

    if (!(255 * fabs(mult) < 0x1p30))
        return qd_error_set(err, QD_UNSUPPORTED, "channel %d: its values pass 2^30 output steps", c);
    *ret_mult = (float)mult;
    *ret_offset = (float)(out.zero_point - in.zero_point * mult);
    return QD_OK;
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_graph *graph = prepare->graph;
    const float *slopes = graph->values[prepare->node->inputs[1]].data;
    struct prelu_q8 *prelu;
    int c;

    if (!has_slopes(graph, prepare->node))
        return qd_elementwise_prepare_q8(prepare, err);
    c = (int)graph->values[prepare->node->inputs[0]].shape.dims[1];
    prelu = qd_arena_alloc(prepare->arena, sizeof(*prelu));
    if (!prelu)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a PRelu");
    prelu->kernels = prepare->kernels;
    prelu->zero = (uint8_t)qd_q8_input(prepare, 0).zero_point;
    qd_q8_pixels_prepare(prepare, 0, 1, &prelu->pixels);
    prelu->block = BLOCK_BYTES / c > 0 ? BLOCK_BYTES / c : 1;
    for (int i = 0; i < 2; i++) {
        float *mult = qd_arena_array(prepare->arena, (size_t)c + 16, sizeof(float));
        float *offset = qd_arena_array(prepare->arena, (size_t)c + 16, sizeof(float));
        struct qd_affine_params *line = &prelu->lines[i];

        if (!mult || !offset)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for a PRelu");
        *line = (struct qd_affine_params){.c = c, .mult = mult, .offset = offset};
        qd_q8_clamp(&prepare->node->act, qd_q8_output(prepare), &line->clamp_min, &line->clamp_max);
        for (int j = 0; j < c; j++) {
            enum qd_status status = set_line(prepare, j, i ? (double)slopes[j] : 1, &mult[j], &offset[j], err);

            if (status != QD_OK)
                return status;
        }
    }
    prepare->scratch_size = 2 * (size_t)prelu->block * (size_t)c + QD_KERNEL_SLACK;
    prepare->prepared = prelu;
    return qd_elementwise_prepared(prepare, prelu_run, err);
}

static const struct qd_elementwise functions = {
    .rows = {[QD_F32] = prelu_f32, QD_INTEGER_ROWS_OF(prelu)},
    .flags = QD_KEEPS_SHAPE,
};

const struct qd_op qd_op_prelu = {
    .name = "PRelu",
    .limits = "int8: constant slopes, per channel or one",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .flags = QD_OP_STEPS,
    .functions = &functions,
    .infer = qd_elementwise_infer,
    .run_f32 = qd_elementwise_run_f32,
    .as_activation = as_activation,
    .supports_q8 = supports_q8,
    .channel_steps = channel_steps,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_elementwise_run_q8,
};
