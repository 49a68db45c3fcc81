/* ShuffleNet's channel shuffle, which exporters write as Reshape, Transpose, Reshape: a pass makes it of them. */
#include "op/channel_shuffle.h"

#include <string.h>

#include "op/ops.h"
#include "op/q8.h"

/* Channel i of group j becomes channel i * groups + j. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    int64_t groups = ((const struct qd_channel_shuffle_params *)node->params)->groups;
    int64_t channels = in[0].shape->dims[1], plane = in[0].shape->dims[2] * in[0].shape->dims[3];
    const float *x = in[0].data;
    float *y = out[0].data;

    (void)run;
    for (int64_t c = 0; c < channels; c++)
        memcpy(y + (c % (channels / groups) * groups + c / (channels / groups)) * plane, x + c * plane,
               (size_t)plane * sizeof(float));
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    (void)graph;
    (void)node;
    return true;
}

struct shuffle_q8 {
    const struct qd_kernels *kernels;
    struct qd_q8_pixels pixels;
    int c, groups;
};

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_shape *shape = &prepare->graph->values[prepare->node->inputs[0]].shape;
    struct shuffle_q8 *shuffle = qd_arena_alloc(prepare->arena, sizeof(*shuffle));

    if (!shuffle)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a shuffle");
    shuffle->kernels = prepare->kernels;
    qd_q8_pixels_prepare(prepare, 0, 1, &shuffle->pixels);
    shuffle->c = (int)shape->dims[1];
    shuffle->groups = ((const struct qd_channel_shuffle_params *)prepare->node->params)->groups;
    prepare->prepared = shuffle;
    return QD_OK;
}

static bool channel_source(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                           struct qd_channel *ret)
{
    int64_t groups = ((const struct qd_channel_shuffle_params *)node->params)->groups;
    int64_t per_group = graph->values[node->inputs[0]].shape.dims[1] / groups;

    (void)output;
    *ret = (struct qd_channel){node->inputs[0], c % groups * per_group + c / groups};
    return true;
}

static void shuffle_pixels(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n)
{
    const struct shuffle_q8 *shuffle = context;

    (void)image;
    shuffle->kernels->shuffle(in[0], out, (size_t)n, shuffle->c, shuffle->groups);
}

static void run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct shuffle_q8 *shuffle = run->prepared;

    qd_q8_pixels_run(&shuffle->pixels, run, thread, n_threads, shuffle_pixels, shuffle);
}

const struct qd_op qd_op_channel_shuffle = {
    .name = "quantd.ChannelShuffle",
    .min_opset = 1,
    .max_opset = 1000,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_STEPS,
    .infer = qd_op_infer_same,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .channel_source = channel_source,
    .prepare_q8 = prepare_q8,
    .run_q8 = run_q8,
};
