#include <math.h>

#include "op/ops.h"
#include "op/pool.h"

static struct qd_conv_f32_params params_of(const struct qd_node *node, const struct qd_shape *in,
                                           const struct qd_shape *out)
{
    const struct qd_window *window = &((const struct qd_pool_attrs *)node->params)->window;

    return (struct qd_conv_f32_params){
        .c = (int)(in->dims[0] * in->dims[1]),
        .h = (int)qd_axis_size(in, QD_AXIS_H),
        .w = (int)qd_axis_size(in, QD_AXIS_W),
        .window = qd_window_f32_of(window),
        .out_h = (int)qd_axis_size(out, QD_AXIS_H),
        .out_w = (int)qd_axis_size(out, QD_AXIS_W),
    };
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    struct qd_conv_f32_params params =
        params_of(node, &graph->values[node->inputs[0]].shape, &graph->values[node->outputs[0]].shape);

    return qd_depthwise_f32_scratch(&params);
}

static bool has_indices(const struct qd_node *node)
{
    return node->n_outputs > 1 && node->outputs[1] != QD_NO_VALUE;
}

/* One output element of one picture, by axis. */
struct place {
    int64_t at[QD_N_AXES], size[QD_N_AXES], out[QD_N_AXES];
};

static bool next_place(struct place *place)
{
    static const enum qd_axis order[] = {QD_AXIS_W, QD_AXIS_H, QD_AXIS_D};

    for (int i = 0; i < QD_N_AXES; i++) {
        if (++place->at[order[i]] < place->out[order[i]])
            return true;
        place->at[order[i]] = 0;
    }
    return false;
}

static float element(enum qd_dtype dtype, const void *data, int64_t i)
{
    if (dtype == QD_F32)
        return ((const float *)data)[i];
    return dtype == QD_U8 ? ((const uint8_t *)data)[i] : ((const int8_t *)data)[i];
}

/* The tap that is largest, the first of equal ones: its position in the picture, or -1 where all is padding. */
static int64_t largest_tap(const struct qd_window *window, const struct place *place, enum qd_dtype dtype,
                           const void *picture, float *ret)
{
    int64_t n = window->kernel[QD_AXIS_D] * window->kernel[QD_AXIS_H] * window->kernel[QD_AXIS_W], found = -1;

    *ret = dtype == QD_F32 ? -INFINITY : dtype == QD_S8 ? -128 : 0;
    for (int64_t t = 0; t < n; t++) {
        int64_t tap[QD_N_AXES] = {t / window->kernel[QD_AXIS_W] % window->kernel[QD_AXIS_H],
                                  t % window->kernel[QD_AXIS_W],
                                  t / window->kernel[QD_AXIS_W] / window->kernel[QD_AXIS_H]};
        bool inside = true;
        int64_t position;
        float x;

        for (int i = 0; i < QD_N_AXES; i++) {
            tap[i] = place->at[i] * window->stride[i] - window->pad_begin[i] + tap[i] * window->dilation[i];
            inside = inside && tap[i] >= 0 && tap[i] < place->size[i];
        }
        if (!inside)
            continue;
        position = (tap[QD_AXIS_D] * place->size[QD_AXIS_H] + tap[QD_AXIS_H]) * place->size[QD_AXIS_W] + tap[QD_AXIS_W];
        x = element(dtype, picture, position);
        if (found >= 0 && !(x > *ret) && !isnan(x) && !isnan(*ret))
            continue;
        *ret = x;
        found = position;
    }
    return found;
}

/* Row-major or (storage_order 1) with the axes turned round. */
static int64_t index_of(const struct qd_pool_attrs *attrs, const struct place *place, int64_t position)
{
    const int64_t *size = place->size;

    if (position < 0 || !attrs->storage_order)
        return position < 0 ? 0 : position;
    return position % size[QD_AXIS_W] * size[QD_AXIS_H] * size[QD_AXIS_D] +
           position / size[QD_AXIS_W] % size[QD_AXIS_H] * size[QD_AXIS_D] +
           position / size[QD_AXIS_W] / size[QD_AXIS_H];
}

/* What the kernel has not: depth, indices, bytes. */
static void run_plain(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out)
{
    const struct qd_pool_attrs *attrs = node->params;
    int64_t *indices = has_indices(node) ? out[1].data : NULL, n_pictures = in[0].shape->dims[0] * in[0].shape->dims[1];
    int64_t n = qd_shape_count(out[0].shape), size = n_pictures ? qd_shape_count(in[0].shape) / n_pictures : 0;
    struct place place = {0};

    for (int i = 0; i < QD_N_AXES; i++) {
        place.size[i] = qd_axis_size(in[0].shape, (enum qd_axis)i);
        place.out[i] = qd_axis_size(out[0].shape, (enum qd_axis)i);
    }
    for (int64_t i = 0, at = 0; i < n; i++) {
        const uint8_t *picture = (const uint8_t *)in[0].data + (size_t)at * qd_dtype_size(in[0].dtype);
        float value;
        int64_t found = largest_tap(&attrs->window, &place, in[0].dtype, picture, &value);

        if (in[0].dtype == QD_F32)
            ((float *)out[0].data)[i] = value;
        else
            ((uint8_t *)out[0].data)[i] = (uint8_t)(int)value;
        if (indices)
            indices[i] = at + index_of(attrs, &place, found);
        if (!next_place(&place))
            at += size;
    }
}

/* A NaN goes on to the output, or calibration finds it in the input. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    struct qd_conv_f32_params params = params_of(node, in[0].shape, out[0].shape);

    if (in[0].dtype != QD_F32 || in[0].shape->n_dims == 5 || has_indices(node)) {
        run_plain(node, in, out);
        return;
    }
    params.in = in[0].data;
    params.out = out[0].data;
    params.scratch = run->scratch;
    run->kernels->f32->max_pool(&params);
}

static unsigned blocks_take(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);

    return in->dtype == QD_F32 && in->shape.n_dims == 4 && in->shape.dims[0] == 1 && !has_indices(node)
               ? 1u | QD_BLOCKS_OUTPUT
               : 0;
}

static size_t blocks_scratch(const struct qd_graph *graph, const struct qd_node *node)
{
    struct qd_conv_f32_params params =
        params_of(node, &graph->values[node->inputs[0]].shape, &graph->values[node->outputs[0]].shape);

    return qd_window_blocks_f32_scratch(&params);
}

static void run_blocks(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    struct qd_conv_f32_params params = params_of(node, in[0].shape, out[0].shape);

    params.in = in[0].data;
    params.out = out[0].data;
    params.scratch = run->scratch;
    run->kernels->f32->max_pool_blocks(&params);
}

static const struct qd_op_blocks blocks = {blocks_take, NULL, blocks_scratch, run_blocks};

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);

    if (in->dtype != QD_F32 && in->dtype != QD_U8 && in->dtype != QD_S8)
        return qd_error_set(err, QD_UNSUPPORTED, "input 0: expected float or bytes, found %s",
                            qd_dtype_name(in->dtype));
    return qd_pool_infer(graph, node, err);
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return qd_pool_supports_q8(graph, node) && !has_indices(node);
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_pool_prepare_q8(prepare, false, err);
}

const struct qd_op qd_op_max_pool = {
    .name = "MaxPool",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 2,
    .flags = QD_OP_SAME_SCALE | QD_OP_STEPS,
    .limits = "int8: [1,c,h,w] without dilations and without the indices",
    .parse = qd_pool_parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .blocks = &blocks,
    .supports_q8 = supports_q8,
    .channel_source = qd_op_same_channel,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_pool_run_q8,
};

/* The window of the picture's size. */
const struct qd_op qd_op_global_max_pool = {
    .name = "GlobalMaxPool",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_STEPS,
    .limits = "int8: [1,c,h,w]",
    .parse = qd_pool_parse_global,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .channel_source = qd_op_same_channel,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_pool_run_q8,
};
