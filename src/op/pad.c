#include "op/pad.h"

#include <string.h>

#include "op/move.h"
#include "op/q8.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    struct qd_pad_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    const char *mode;
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_string(node, "mode", "constant", &mode, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "value", 0, &params->value, err);
    if (status != QD_OK)
        return status;
    for (int i = 0; i < 4; i++) {
        if (strcmp(mode, names[i]) == 0) {
            params->mode = (enum qd_pad_mode)i;
            return QD_OK;
        }
    }
    return qd_error_set(err, QD_UNSUPPORTED, "mode: expected constant, reflect, edge or wrap, found '%.40s'", mode);
}

/* Before opset 11 pads are an attribute; since then an input, and the value too. */
static enum qd_status read_pads(const struct qd_graph *graph, const struct qd_node *node, int64_t *pads, int *ret_n,
                                struct qd_error *err)
{
    const int64_t *list;
    enum qd_status status;

    if (node->opset >= 11) {
        if (!qd_node_input(graph, node, 1))
            return qd_error_set(err, QD_INVALID, "pads: input 1 is missing");
        return qd_op_const_ints(graph, node, 1, 2 * QD_MAX_DIMS, pads, ret_n, err);
    }
    status = qd_node_attr_ints(node, "pads", &list, ret_n, err);
    for (int i = 0; i < *ret_n && i < 2 * QD_MAX_DIMS && status == QD_OK; i++)
        pads[i] = list[i];
    return status;
}

/* pads for the axes of input 3, of opset 18, as pads for all. */
static enum qd_status spread_axes(const struct qd_graph *graph, const struct qd_node *node, int n_dims, int64_t *pads,
                                  int *n, struct qd_error *err)
{
    int64_t axes[QD_MAX_DIMS], all[2 * QD_MAX_DIMS] = {0};
    int n_axes, axis;
    enum qd_status status;

    if (!qd_node_input(graph, node, 3))
        return QD_OK;
    status = qd_op_const_ints(graph, node, 3, QD_MAX_DIMS, axes, &n_axes, err);
    if (status == QD_OK && *n != 2 * n_axes)
        status = qd_error_set(err, QD_INVALID, "pads: expected %d values, found %d", 2 * n_axes, *n);
    for (int i = 0; i < n_axes && status == QD_OK; i++) {
        status = qd_op_axis(axes[i], n_dims, &axis, err);
        if (status != QD_OK)
            break;
        all[axis] = pads[i];
        all[n_dims + axis] = pads[n_axes + i];
    }
    memcpy(pads, all, sizeof(all));
    *n = 2 * n_dims;
    return status;
}

/* The value that padding has: eight bytes of any type. */
static enum qd_status read_fill(const struct qd_graph *graph, const struct qd_node *node, struct qd_error *err)
{
    struct qd_pad_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *value = qd_node_input(graph, node, 2);

    memcpy(params->fill, &params->value, sizeof(params->value));
    if (!value)
        return QD_OK;
    if (!value->data || value->dtype != in->dtype || qd_shape_count(&value->shape) != 1)
        return qd_error_set(err, QD_UNSUPPORTED, "constant_value: expected one constant %s", qd_dtype_name(in->dtype));
    memcpy(params->fill, value->data, qd_dtype_size(value->dtype));
    if (value->dtype == QD_F32)
        params->value = *(const float *)value->data;
    return QD_OK;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_pad_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    int64_t pads[2 * QD_MAX_DIMS];
    struct qd_shape out = in->shape;
    int n = 0, n_dims = out.n_dims;
    enum qd_status status = read_pads(graph, node, pads, &n, err);

    if (status == QD_OK)
        status = spread_axes(graph, node, n_dims, pads, &n, err);
    if (status == QD_OK)
        status = read_fill(graph, node, err);
    if (status != QD_OK)
        return status;
    if (n != 2 * n_dims)
        return qd_error_set(err, QD_INVALID, "pads: expected %d values, found %d", 2 * n_dims, n);
    for (int d = 0; d < n_dims; d++) {
        int64_t size = in->shape.dims[d], most = params->mode == QD_PAD_REFLECT ? size - 1
                                                 : params->mode == QD_PAD_WRAP  ? size
                                                                                : QD_MAX_ELEMENTS;

        params->begin[d] = pads[d];
        params->end[d] = pads[n_dims + d];
        if (params->begin[d] < -size || params->end[d] < -size || params->begin[d] > most || params->end[d] > most ||
            size + params->begin[d] + params->end[d] < 0 ||
            (size == 0 && params->mode != QD_PAD_CONSTANT && (params->begin[d] > 0 || params->end[d] > 0)))
            return qd_error_set(err, QD_INVALID, "pads: %lld and %lld do not fit dimension %d of %lld",
                                (long long)params->begin[d], (long long)params->end[d], d, (long long)size);
        out.dims[d] = size + params->begin[d] + params->end[d];
    }
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

/* The part of the input that stays, at its place in the output. */
static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{
    const struct qd_pad_params *params = node->params;

    (void)i;
    memset(ret, 0, sizeof(*ret));
    ret->n_dims = in->shape->n_dims;
    memcpy(ret->in_strides, in->strides, sizeof(ret->in_strides));
    memcpy(ret->out_strides, out->strides, sizeof(ret->out_strides));
    for (int d = 0; d < ret->n_dims; d++) {
        int64_t crop_begin = params->begin[d] < 0 ? -params->begin[d] : 0,
                crop_end = params->end[d] < 0 ? -params->end[d] : 0;

        ret->dims[d] = in->shape->dims[d] - crop_begin - crop_end;
        ret->dims[d] = ret->dims[d] < 0 ? 0 : ret->dims[d];
        ret->in_at += crop_begin * ret->in_strides[d];
        ret->out_at += (params->begin[d] > 0 ? params->begin[d] : 0) * ret->out_strides[d];
    }
}

/* The input index that an output index mirrors or repeats. */
static int64_t source_index(enum qd_pad_mode mode, int64_t i, int64_t size)
{
    if (mode == QD_PAD_EDGE)
        return i < 0 ? 0 : i >= size ? size - 1 : i;
    if (mode == QD_PAD_WRAP)
        return i < 0 ? i + size : i >= size ? i - size : i;
    i = i < 0 ? -i : i;
    return i >= size ? 2 * (size - 1) - i : i;
}

static void run_mirrored(const struct qd_pad_params *params, const struct qd_view *in, const struct qd_view *out)
{
    const struct qd_shape *shape = out[0].shape;
    int64_t count = qd_shape_count(shape), index[QD_MAX_DIMS] = {0}, strides[QD_MAX_DIMS];
    size_t size = qd_dtype_size(in[0].dtype);

    qd_shape_strides(in[0].shape, strides);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0;

        for (int d = 0; d < shape->n_dims; d++)
            at += source_index(params->mode, index[d] - params->begin[d], in[0].shape->dims[d]) * strides[d];
        memcpy((uint8_t *)out[0].data + (size_t)i * size, (const uint8_t *)in[0].data + (size_t)at * size, size);
        for (int d = shape->n_dims - 1; d >= 0 && ++index[d] == shape->dims[d]; d--)
            index[d] = 0;
    }
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_pad_params *params = node->params;
    int64_t count = qd_shape_count(out[0].shape);
    size_t size = qd_dtype_size(out[0].dtype);

    (void)run;
    if (params->mode != QD_PAD_CONSTANT) {
        run_mirrored(params, in, out);
        return;
    }
    if (count)
        memcpy(out[0].data, params->fill, size);
    for (int64_t n = 1; n < count; n *= 2) /* what is filled, once more behind itself */
        memcpy((uint8_t *)out[0].data + (size_t)n * size, out[0].data, (size_t)(n < count - n ? n : count - n) * size);
    qd_move_run_views(node, in, out, 1, move_of);
}

struct pad_q8 {
    const void *moves;
    int64_t count;
    uint8_t fill;
};

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_pad_params *params = node->params;

    (void)graph;
    return params->mode == QD_PAD_CONSTANT && node->act.kind == QD_ACT_NONE;
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_pad_params *params = prepare->node->params;
    struct pad_q8 *pad = qd_arena_alloc(prepare->arena, sizeof(*pad));
    enum qd_status status = qd_move_prepare_q8(prepare, 1, move_of, err);

    if (status != QD_OK || !pad)
        return pad ? status : qd_error_set(err, QD_NO_MEMORY, "no memory for padding");
    pad->moves = prepare->prepared;
    pad->count = qd_shape_count(&prepare->graph->values[prepare->node->outputs[0]].shape);
    pad->fill = qd_q8_byte(params->value, qd_q8_output(prepare));
    prepare->prepared = pad;
    return QD_OK;
}

/* A real value other than 0 has another byte in each channel's step. */
static bool channel_source(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                           struct qd_channel *ret)
{
    const struct qd_pad_params *params = node->params;

    return params->value == 0 && params->begin[1] == 0 && params->end[1] == 0 &&
           qd_op_same_channel(graph, node, output, c, ret);
}

/* One thread per image: the copy must come after the fill. */
static void run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct pad_q8 *pad = run->prepared;

    for (int image = thread; image < run->n_images; image += n_threads) {
        const uint8_t *in = run->inputs[0] + (size_t)image * run->input_pitch[0];
        void *out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0];
        struct qd_q8_run one = *run;

        memset(out, pad->fill, (size_t)pad->count);
        one.prepared = pad->moves;
        one.inputs = &in;
        one.outputs = &out;
        one.n_images = 1;
        qd_move_run_q8(&one, 0, 1);
    }
}

const struct qd_op qd_op_pad = {
    .name = "Pad",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 4,
    .limits = "constant pads; int8: mode constant",
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_ANY_ORDER,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .channel_source = channel_source,
    .prepare_q8 = prepare_q8,
    .run_q8 = run_q8,
};
