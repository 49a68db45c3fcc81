#include "op/move.h"

#include <string.h>

#include "op/q8.h"

#define SHORT_ROW 8

static void copy_row(const uint8_t *in, int64_t in_stride, uint8_t *out, int64_t out_stride, int64_t n, size_t size)
{
    if (in_stride == 1 && out_stride == 1) {
        memcpy(out, in, (size_t)n * size);
        return;
    }
    switch (size) {
    case 1:
        for (int64_t i = 0; i < n; i++)
            out[i * out_stride] = in[i * in_stride];
        break;
    case 4:
        for (int64_t i = 0; i < n; i++)
            ((uint32_t *)(void *)out)[i * out_stride] = ((const uint32_t *)(const void *)in)[i * in_stride];
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            ((uint64_t *)(void *)out)[i * out_stride] = ((const uint64_t *)(const void *)in)[i * in_stride];
    }
}

void qd_move_run(const struct qd_move *move, size_t size, const void *in, void *out, int64_t begin, int64_t end)
{
    const uint8_t *from = (const uint8_t *)in + move->in_at * (int64_t)size;
    uint8_t *to = (uint8_t *)out + move->out_at * (int64_t)size;
    int64_t index[QD_MAX_DIMS] = {0}, rows = 1;
    int last = move->n_dims - 1, inner = last;

    if (move->n_dims == 0) {
        memcpy(to, from, size);
        return;
    }
    /* The row is the dimension that is contiguous in the output, so that writes are in order, unless it is short. */
    for (int d = 1; d < move->n_dims; d++)
        if (move->out_strides[d] == 1 && move->dims[d] > 1)
            inner = d;
    for (int d = 1; d < move->n_dims && move->dims[inner] < SHORT_ROW; d++)
        if (move->dims[d] > move->dims[inner])
            inner = d;
    if (last == 0) {
        copy_row(from + begin * move->in_strides[0] * (int64_t)size, move->in_strides[0],
                 to + begin * move->out_strides[0] * (int64_t)size, move->out_strides[0], end - begin, size);
        return;
    }
    if (last == 1 && inner == 1) {
        for (int64_t r = begin; r < end; r++)
            copy_row(from + r * move->in_strides[0] * (int64_t)size, move->in_strides[1],
                     to + r * move->out_strides[0] * (int64_t)size, move->out_strides[1], move->dims[1], size);
        return;
    }
    for (int d = 0; d <= last; d++)
        if (d != inner)
            rows *= d == 0 ? end - begin : move->dims[d];
    index[0] = begin;
    for (int64_t r = 0; r < rows; r++) {
        int64_t at_in = 0, at_out = 0;

        for (int d = 0; d <= last; d++) {
            at_in += index[d] * move->in_strides[d];
            at_out += index[d] * move->out_strides[d];
        }
        copy_row(from + at_in * (int64_t)size, move->in_strides[inner], to + at_out * (int64_t)size,
                 move->out_strides[inner], move->dims[inner], size);
        for (int d = last; d >= 0; d--) {
            if (d == inner)
                continue;
            if (++index[d] < (d == 0 ? end : move->dims[d]))
                break;
            index[d] = d == 0 ? begin : 0;
        }
    }
}

void qd_move_run_views(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out, int n,
                       qd_move_of *move_of)
{
    for (int i = 0; i < n; i++) {
        struct qd_move move;
        struct qd_move_side from = {0}, to = {0};

        /* Concat and Split look at one piece at a time: the others' sizes are in their params. */
        from.shape = in[node->n_inputs > i && node->n_outputs == 1 && n > 1 ? i : 0].shape;
        to.shape = out[node->n_outputs > 1 ? i : 0].shape;
        if (!from.shape || !to.shape)
            continue;
        qd_shape_strides(from.shape, from.strides);
        qd_shape_strides(to.shape, to.strides);
        move_of(node, i, &from, &to, &move);
        if (qd_shape_count(&(struct qd_shape){.n_dims = move.n_dims,
                                              .dims = {move.dims[0], move.dims[1], move.dims[2], move.dims[3],
                                                       move.dims[4], move.dims[5], move.dims[6], move.dims[7]}}) <= 0)
            continue;
        qd_move_run(&move, qd_dtype_size(out[move.output].dtype), in[move.input].data, out[move.output].data, 0,
                    move.n_dims ? move.dims[0] : 1);
    }
}

struct moves_q8 {
    int n;
    struct qd_move moves[];
};

static void swap_dims(struct qd_move *move, int a, int b)
{
    int64_t *arrays[] = {move->dims, move->in_strides, move->out_strides};

    for (int i = 0; i < 3; i++) {
        int64_t value = arrays[i][a];

        arrays[i][a] = arrays[i][b];
        arrays[i][b] = value;
    }
}

/*
 * The same copy in as few dimensions as can be, the one with the widest output stride first: it is what threads share.
 * Dimensions of 1 go; two become one where both sides walk through them in one stride.
 */
static void simplify(struct qd_move *move)
{
    int n = 0;

    for (int d = 0; d < move->n_dims; d++)
        if (move->dims[d] != 1)
            swap_dims(move, d, n++);
    for (int d = 1; d < n; d++)
        for (int i = d; i > 0 && move->out_strides[i] > move->out_strides[i - 1]; i--)
            swap_dims(move, i, i - 1);
    move->n_dims = n < 1 ? 1 : 0;
    if (n < 1) /* one element, of rank 0 perhaps */
        move->dims[0] = 1;
    for (int d = 0; d < n; d++) {
        int to = move->n_dims - 1;

        if (d > 0 && move->in_strides[to] == move->in_strides[d] * move->dims[d] &&
            move->out_strides[to] == move->out_strides[d] * move->dims[d]) {
            move->dims[to] *= move->dims[d];
            move->in_strides[to] = move->in_strides[d];
            move->out_strides[to] = move->out_strides[d];
        } else {
            swap_dims(move, d, move->n_dims++);
        }
    }
}

/* A distance in elements of a contiguous picture, as bytes between the same elements of one that lies in steps. */
static int64_t in_steps(int64_t distance, const struct qd_move_side *side, const struct qd_steps *steps)
{
    int64_t c, w, size = distance < 0 ? -distance : distance, bytes;

    if (!side->is_picture)
        return distance;
    c = side->shape->dims[1];
    w = side->shape->dims[3];
    bytes = size / (w * c) * steps->y + size / c % w * steps->x + size % c;
    return distance < 0 ? -bytes : bytes;
}

static void follow_steps(struct qd_move *move, const struct qd_move_side *in, const struct qd_steps *steps_in,
                         const struct qd_move_side *out, const struct qd_steps *steps_out)
{
    move->in_at = in_steps(move->in_at, in, steps_in);
    move->out_at = in_steps(move->out_at, out, steps_out);
    for (int d = 0; d < move->n_dims; d++) {
        if (move->dims[d] == 1) /* its stride may be a whole picture */
            continue;
        move->in_strides[d] = in_steps(move->in_strides[d], in, steps_in);
        move->out_strides[d] = in_steps(move->out_strides[d], out, steps_out);
    }
}

static void side_of(const struct qd_value *value, struct qd_move_side *ret)
{
    ret->shape = &value->shape;
    ret->is_picture = qd_value_is_picture(value);
    qd_q8_strides(value, ret->strides);
}

enum qd_status qd_move_prepare_q8(struct qd_q8_prepare *prepare, int n, qd_move_of *move_of, struct qd_error *err)
{
    const struct qd_graph *graph = prepare->graph;
    const struct qd_node *node = prepare->node;
    struct moves_q8 *moves = qd_arena_alloc(prepare->arena, sizeof(*moves) + (size_t)n * sizeof(struct qd_move));

    if (!moves)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a copy");
    for (int i = 0; i < n; i++) {
        int input = node->n_outputs == 1 && n > 1 ? i : 0, output = node->n_outputs > 1 ? i : 0;
        struct qd_move_side in, out;

        if (node->outputs[output] == QD_NO_VALUE)
            continue;
        side_of(&graph->values[node->inputs[input]], &in);
        side_of(&graph->values[node->outputs[output]], &out);
        move_of(node, i, &in, &out, &moves->moves[moves->n]);
        if (node->op->flags & QD_OP_STEPS)
            follow_steps(&moves->moves[moves->n], &in, &prepare->in_steps[input], &out, &prepare->out_steps[output]);
        simplify(&moves->moves[moves->n]);
        moves->n++;
    }
    prepare->prepared = moves;
    return QD_OK;
}

void qd_move_run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct moves_q8 *moves = run->prepared;

    for (int i = 0; i < moves->n; i++) {
        const struct qd_move *move = &moves->moves[i];
        int64_t begin, end;

        qd_share(move->n_dims ? move->dims[0] : 1, thread, n_threads, &begin, &end);
        for (int image = 0; image < run->n_images && begin < end; image++)
            qd_move_run(move, 1, run->inputs[move->input] + (size_t)image * run->input_pitch[move->input],
                        (uint8_t *)run->outputs[move->output] + (size_t)image * run->output_pitch[move->output], begin,
                        end);
    }
}

bool qd_move_supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return node->act.kind == QD_ACT_NONE && qd_shape_count(&graph->values[node->outputs[0]].shape) > 0;
}

void qd_copy_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                     const struct qd_f32_run *run)
{
    (void)node;
    (void)run;
    memcpy(out[0].data, in[0].data, (size_t)qd_shape_count(out[0].shape) * qd_dtype_size(out[0].dtype));
}

/* Whether a quantized tensor lies in another order than its shape says. */
static bool is_permuted(const struct qd_shape *shape, bool is_picture)
{
    return is_picture && shape->dims[1] > 1 && shape->dims[2] * shape->dims[3] > 1;
}

bool qd_copy_supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *in = &graph->values[node->inputs[0]], *out = &graph->values[node->outputs[0]];

    return node->act.kind == QD_ACT_NONE &&
           (!is_permuted(&in->shape, qd_value_is_picture(in)) || !is_permuted(&out->shape, qd_value_is_picture(out)) ||
            qd_shape_equal(&in->shape, &out->shape));
}

bool qd_copy_keeps_bytes(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *in = &graph->values[node->inputs[0]], *out = &graph->values[node->outputs[0]];
    bool in_permuted = is_permuted(&in->shape, qd_value_is_picture(in));

    return in_permuted == is_permuted(&out->shape, qd_value_is_picture(out)) &&
           (!in_permuted || qd_shape_equal(&in->shape, &out->shape));
}

/* Over the dimensions of the side that is permuted. */
static void copy_move(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                      struct qd_move *ret)
{
    bool in_permuted = is_permuted(in->shape, in->is_picture), out_permuted = is_permuted(out->shape, out->is_picture);
    const struct qd_shape *shape = in_permuted ? in->shape : out->shape;

    (void)node;
    (void)i;
    memset(ret, 0, sizeof(*ret));
    ret->n_dims = shape->n_dims;
    memcpy(ret->dims, shape->dims, sizeof(ret->dims));
    qd_shape_strides(shape, ret->in_strides);
    qd_shape_strides(shape, ret->out_strides);
    if (in_permuted)
        memcpy(ret->in_strides, in->strides, sizeof(ret->in_strides));
    if (out_permuted)
        memcpy(ret->out_strides, out->strides, sizeof(ret->out_strides));
}

enum qd_status qd_copy_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_move_prepare_q8(prepare, 1, copy_move, err);
}
