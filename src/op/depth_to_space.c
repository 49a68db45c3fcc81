#include <string.h>

#include "op/move.h"

struct depth_params {
    int64_t block;
    bool channels_first; /* CRD: a channel's elements follow each other; DCR: those of a place in the block do */
};

static enum qd_status parse_block(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct depth_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "blocksize", 0, &params->block, err);
    if (status == QD_OK && (params->block < 1 || params->block > 65535))
        return qd_error_set(err, QD_INVALID, "blocksize: expected 1..65535, found %lld", (long long)params->block);
    return status;
}

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const char *mode = "DCR";
    enum qd_status status = parse_block(graph, node, err);

    if (status == QD_OK)
        status = qd_node_attr_string(node, "mode", "DCR", &mode, err);
    if (status != QD_OK)
        return status;
    if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0)
        return qd_error_set(err, QD_INVALID, "mode: expected DCR or CRD, found '%.40s'", mode);
    ((struct depth_params *)node->params)->channels_first = mode[0] == 'C';
    return QD_OK;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    int64_t block = ((const struct depth_params *)node->params)->block;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    char text[QD_SHAPE_TEXT_SIZE];

    if (out.n_dims != 4 || out.dims[1] % (block * block))
        return qd_error_set(err, QD_INVALID, "expected [n,c,h,w] with c a multiple of %lld, found %s",
                            (long long)(block * block), qd_shape_text(&out, text));
    out.dims[1] /= block * block;
    out.dims[2] *= block;
    out.dims[3] *= block;
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static enum qd_status space_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    int64_t block = ((const struct depth_params *)node->params)->block;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    char text[QD_SHAPE_TEXT_SIZE];

    if (out.n_dims != 4 || out.dims[2] % block || out.dims[3] % block)
        return qd_error_set(err, QD_INVALID, "expected [n,c,h,w] with h and w multiples of %lld, found %s",
                            (long long)block, qd_shape_text(&out, text));
    out.dims[1] *= block * block;
    out.dims[2] /= block;
    out.dims[3] /= block;
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

/*
 * Dimensions are picture, row and column within the block, channel, y and x of blocks. deep has the blocks' elements as
 * channels, wide as pixels.
 */
static void strides_between(const struct depth_params *params, const struct qd_shape *deep, const int64_t *deep_strides,
                            const int64_t *wide_strides, struct qd_move *move, int64_t *of_deep, int64_t *of_wide)
{
    int64_t block = params->block, channels = deep->dims[1] / (block * block);
    int64_t place = params->channels_first ? 1 : channels, channel = params->channels_first ? block * block : 1;
    const int64_t dims[] = {deep->dims[0], block, block, channels, deep->dims[2], deep->dims[3]};
    const int64_t *d = deep_strides, *w = wide_strides;
    const int64_t deep_by[] = {d[0], place * block * d[1], place * d[1], channel * d[1], d[2], d[3]};
    const int64_t wide_by[] = {w[0], w[2], w[3], w[1], block * w[2], block * w[3]};

    memset(move, 0, sizeof(*move));
    move->n_dims = 6;
    memcpy(move->dims, dims, sizeof(dims));
    memcpy(of_deep, deep_by, sizeof(deep_by));
    memcpy(of_wide, wide_by, sizeof(wide_by));
}

static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{

    (void)i;
    strides_between(node->params, in->shape, in->strides, out->strides, ret, ret->in_strides, ret->out_strides);
}

static void space_move_of(const struct qd_node *node, int i, const struct qd_move_side *in,
                          const struct qd_move_side *out, struct qd_move *ret)
{

    (void)i;
    strides_between(node->params, out->shape, out->strides, in->strides, ret, ret->out_strides, ret->in_strides);
}

QD_ONE_MOVE(depth_to_space_, move_of)
QD_ONE_MOVE(space_, space_move_of)

const struct qd_op qd_op_depth_to_space = {
    .name = "DepthToSpace",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_STEPS,
    .parse = parse,
    .infer = infer,
    QD_ONE_MOVE_FIELDS(depth_to_space_),
};

const struct qd_op qd_op_space_to_depth = {
    .name = "SpaceToDepth",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_STEPS,
    .parse = parse_block,
    .infer = space_infer,
    QD_ONE_MOVE_FIELDS(space_),
};
