#include "op/elementwise.h"

#include <stdio.h>
#include <string.h>

static const struct qd_elementwise *functions_of(const struct qd_node *node)
{
    return node->op->functions;
}

/* "float, int32 or bool": the types that the operator has rows for. */
static const char *list_types(const struct qd_elementwise *f, char text[96])
{
    int last = -1;
    size_t used = 0;

    for (int t = 0; t < QD_N_DTYPE; t++)
        last = f->rows[t] ? t : last;
    text[0] = 0;
    for (int t = 0; t <= last; t++)
        if (f->rows[t] && used < 96)
            used += (size_t)snprintf(text + used, 96 - used, "%s%s",
                                     !used       ? ""
                                     : t == last ? " or "
                                                 : ", ",
                                     qd_dtype_name((enum qd_dtype)t));
    return text;
}

static enum qd_status check_operand(const struct qd_elementwise *f, const struct qd_value *value, int i,
                                    enum qd_dtype type, struct qd_error *err)
{
    enum qd_dtype wanted = i < f->typed_by ? QD_BOOL : type;

    if ((f->flags & QD_TAKES_SCALARS) && i > 0 && qd_shape_count(&value->shape) != 1)
        return qd_error_set(err, QD_INVALID, "input %d: expected one element, found %lld", i,
                            (long long)qd_shape_count(&value->shape));
    if (value->dtype == wanted || ((f->flags & QD_MIXES_TYPES) && f->rows[value->dtype]))
        return QD_OK;
    return qd_error_set(err, QD_INVALID, "input %d: expected %s as the others need, found %s", i, qd_dtype_name(wanted),
                        qd_dtype_name(value->dtype));
}

enum qd_status qd_elementwise_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_elementwise *f = functions_of(node);
    const struct qd_value *first = qd_node_input(graph, node, 0);
    enum qd_dtype type = qd_node_input(graph, node, f->typed_by)->dtype;
    struct qd_shape out = first->shape;
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE], types[96];

    if (!f->rows[type])
        return qd_error_set(err, QD_UNSUPPORTED, "input %d: expected %s, found %s", f->typed_by, list_types(f, types),
                            qd_dtype_name(type));
    for (int i = 0; i < node->n_inputs; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);
        enum qd_status status = value ? check_operand(f, value, i, type, err) : QD_OK;

        if (!value && (f->flags & QD_ANY_NUMBER))
            return qd_error_set(err, QD_INVALID, "input %d is missing", i);
        if (status == QD_OK && value && !(f->flags & QD_TAKES_SCALARS))
            status = qd_shape_broadcast(&out, &value->shape, &out, err);
        if (status != QD_OK)
            return status;
    }
    if ((f->flags & QD_KEEPS_SHAPE) && !qd_shape_equal(&out, &first->shape))
        return qd_error_set(err, QD_INVALID, "expected operands that broadcast to %s, found %s",
                            qd_shape_text(&first->shape, text), qd_shape_text(&out, text2));
    return qd_op_set_output(graph, node, 0, f->flags & QD_GIVES_BOOL ? QD_BOOL : type, &out, err);
}

enum qd_status qd_elementwise_infer_swapped(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = qd_elementwise_infer(graph, node, err);
    int first = node->inputs[0];

    if (status == QD_OK && graph->values[first].data && !graph->values[node->inputs[1]].data) {
        node->inputs[0] = node->inputs[1];
        node->inputs[1] = first;
    }
    return status;
}

/* Strides of an operand over the dimensions of the result: 0 where it is broadcast. */
static void broadcast_strides(const struct qd_shape *in, const struct qd_shape *out, int64_t ret[QD_MAX_DIMS])
{
    int64_t strides[QD_MAX_DIMS];
    int shift = out->n_dims - in->n_dims;

    memset(ret, 0, QD_MAX_DIMS * sizeof(*ret));
    if (qd_shape_count(in) == 1)
        return;
    qd_shape_strides(in, strides);
    for (int d = shift; d < out->n_dims; d++)
        ret[d] = in->dims[d - shift] == 1 ? 0 : strides[d - shift];
}

/* The walk over the result: its dimensions, and the operands' strides in them. */
struct walk {
    struct qd_shape shape;
    int64_t strides[QD_MAX_OPERANDS][QD_MAX_DIMS];
    int n_operands;
};

/* Dimensions that all operands walk through in one stride become one, those of one element none: rows get long. */
static void merge_dimensions(struct walk *w)
{
    int n = 0;

    for (int d = 0; d < w->shape.n_dims; d++) {
        int64_t size = w->shape.dims[d];
        bool joins = n > 0;

        if (size == 1)
            continue;
        for (int i = 0; i < w->n_operands; i++)
            joins = joins && w->strides[i][n - 1] == size * w->strides[i][d];
        n = joins ? n - 1 : n;
        w->shape.dims[n] = joins ? w->shape.dims[n] * size : size;
        for (int i = 0; i < w->n_operands; i++)
            w->strides[i][n] = w->strides[i][d];
        n++;
    }
    w->shape.n_dims = n;
}

static void run_operands(const struct qd_node *node, const struct qd_view *in, int n_operands,
                         const struct qd_view *out)
{
    const struct qd_elementwise *f = functions_of(node);
    struct walk w = {.shape = *out->shape, .n_operands = n_operands};
    struct qd_row row = {.params = node->params};
    int64_t index[QD_MAX_DIMS] = {0}, count = qd_shape_count(&w.shape);
    qd_row_function *run = f->rows[in[f->typed_by].dtype];
    int last;

    for (int i = 0; i < n_operands; i++) {
        row.dtype[i] = in[i].dtype;
        if (in[i].data)
            broadcast_strides(in[i].shape, &w.shape, w.strides[i]);
    }
    merge_dimensions(&w);
    last = w.shape.n_dims - 1;
    row.n = last >= 0 ? w.shape.dims[last] : 1;
    for (int64_t done = 0; done < count; done += row.n) {
        for (int i = 0; i < n_operands; i++) {
            int64_t at = 0;

            if (!in[i].data)
                continue;
            for (int d = 0; d < last; d++)
                at += index[d] * w.strides[i][d];
            row.stride[i] = last >= 0 ? w.strides[i][last] : 0;
            row.in[i] = (const uint8_t *)in[i].data + (size_t)at * qd_dtype_size(in[i].dtype);
        }
        row.out = (uint8_t *)out->data + (size_t)done * qd_dtype_size(out->dtype);
        run(&row);
        for (int d = last - 1; d >= 0 && ++index[d] == w.shape.dims[d]; d--)
            index[d] = 0;
    }
}

void qd_elementwise_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                            const struct qd_f32_run *run)
{
    const struct qd_elementwise *f = functions_of(node);
    int64_t count = qd_shape_count(out[0].shape);

    (void)run;
    if (!(f->flags & QD_ANY_NUMBER)) {
        run_operands(node, in, node->n_inputs, out);
        return;
    }
    if (node->n_inputs == 1)
        memcpy(out[0].data, in[0].data, (size_t)count * qd_dtype_size(out[0].dtype));
    for (int i = 1; i < node->n_inputs; i++) {
        const struct qd_view pair[] = {i == 1 ? in[0] : out[0], in[i]};

        run_operands(node, pair, 2, out);
    }
    if (f->finish)
        f->finish(out[0].data, out[0].dtype, count, node->n_inputs);
}

static unsigned blocks_take(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *out = qd_node_output(graph, node, 0);

    for (int i = 0; i < node->n_inputs; i++) {
        const struct qd_value *in = qd_node_input(graph, node, i);

        if (node->n_inputs > QD_BLOCKS_INPUTS || !in || in->data || in->dtype != QD_F32 || in->shape.dims[0] != 1 ||
            !qd_shape_equal(&in->shape, &out->shape))
            return 0;
    }
    return out->dtype == QD_F32 && out->shape.n_dims == 4 ? ((1u << node->n_inputs) - 1) | QD_BLOCKS_OUTPUT : 0;
}

static void run_blocks(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    struct qd_shape flat = {.n_dims = 1, .dims = {(int64_t)qd_blocks_count(out[0].shape)}};
    struct qd_view ins[QD_BLOCKS_INPUTS], outs[] = {out[0]};

    for (int i = 0; i < node->n_inputs; i++) {
        ins[i] = in[i];
        ins[i].shape = &flat;
    }
    outs[0].shape = &flat;
    qd_elementwise_run_f32(node, ins, outs, run);
}

const struct qd_op_blocks qd_elementwise_blocks = {blocks_take, NULL, NULL, run_blocks};

int64_t qd_elementwise_constants(const struct qd_value *constant, const struct qd_shape *out, int channel)
{
    int64_t count = qd_shape_count(&constant->shape), strides[QD_MAX_DIMS];

    if (!constant->data || constant->dtype != QD_F32)
        return 0;
    if (count == 1)
        return 1;
    if (channel < 0 || count != out->dims[channel])
        return 0;
    broadcast_strides(&constant->shape, out, strides);
    return strides[channel] == 1 ? count : 0;
}

static int64_t n_constants(const struct qd_value *constant, const struct qd_value *out)
{
    return qd_elementwise_constants(constant, &out->shape, qd_value_channel_dim(out));
}

bool qd_elementwise_is_line(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    const struct qd_value *out = &graph->values[node->outputs[0]];

    return functions_of(node)->line && !a->data && n_constants(b, out) > 0 && qd_shape_equal(&a->shape, &out->shape);
}

/* The one operand that is an activation, or -1: there are several, or another is more than a scalar. */
static int table_operand(const struct qd_graph *graph, const struct qd_node *node)
{
    int found = -1;

    for (int i = 0; i < node->n_inputs; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);

        if (!value)
            continue;
        if (value->dtype != QD_F32 || (!value->data && found >= 0) ||
            (value->data && qd_shape_count(&value->shape) != 1))
            return -1;
        found = value->data ? found : i;
    }
    return found;
}

bool qd_elementwise_is_table(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *out = &graph->values[node->outputs[0]];
    int i = table_operand(graph, node);

    return i >= 0 && out->dtype == QD_F32 && qd_shape_equal(&graph->values[node->inputs[i]].shape, &out->shape) &&
           !qd_elementwise_is_line(graph, node);
}

bool qd_elementwise_supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return qd_elementwise_is_line(graph, node) || qd_elementwise_is_table(graph, node);
}

struct line_context {
    const struct qd_elementwise *functions;
    const float *constants;
    bool one;
};

static void line_of(const void *context, int c, double *ret_mult, double *ret_add)
{
    const struct line_context *l = context;

    l->functions->line((double)l->constants[l->one ? 0 : c], ret_mult, ret_add);
}

static enum qd_status prepare_line(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_value *constant = qd_node_input(prepare->graph, prepare->node, 1);
    const struct qd_value *out = &prepare->graph->values[prepare->node->outputs[0]];
    struct line_context context = {functions_of(prepare->node), constant->data, n_constants(constant, out) == 1};

    return qd_q8_lines_prepare(prepare, line_of, &context, err);
}

/* The definition is asked about the reals of all bytes at once. */
static enum qd_status prepare_table(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    static const struct qd_shape bytes = {.n_dims = 1, .dims = {256}};
    const struct qd_graph *graph = prepare->graph;
    const struct qd_node *node = prepare->node;
    int at = table_operand(graph, node);
    struct qd_qparams q = qd_q8_input(prepare, at);
    struct qd_view *in = qd_arena_array(prepare->arena, (size_t)node->n_inputs, sizeof(*in));
    struct qd_f32_run run = {.kernels = prepare->kernels};
    float x[256], y[256];
    struct qd_view out = {QD_F32, &bytes, y};

    if (!in)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a table");
    for (int b = 0; b < 256; b++)
        x[b] = (float)(b - q.zero_point) * q.scale;
    for (int i = 0; i < node->n_inputs; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);

        if (value)
            in[i] = (struct qd_view){QD_F32, i == at ? &bytes : &value->shape,
                                     i == at ? x : (void *)(uintptr_t)value->data};
    }
    node->op->run_f32(node, in, &out, &run);
    for (int b = 0; b < 256 && node->act.kind != QD_ACT_NONE; b++)
        y[b] = (float)qd_activation_f64(&node->act, (double)y[b]);
    return qd_q8_table_of(prepare, at, y, err);
}

struct prepared {
    void (*run)(const struct qd_q8_run *run, int thread, int n_threads);
    const void *prepared;
};

enum qd_status qd_elementwise_prepared(struct qd_q8_prepare *prepare,
                                       void (*run)(const struct qd_q8_run *run, int thread, int n_threads),
                                       struct qd_error *err)
{
    struct prepared *prepared = qd_arena_alloc(prepare->arena, sizeof(*prepared));

    if (!prepared)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for an elementwise operator");
    *prepared = (struct prepared){run, prepare->prepared};
    prepare->prepared = prepared;
    return QD_OK;
}

enum qd_status qd_elementwise_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    bool is_line = qd_elementwise_is_line(prepare->graph, prepare->node);
    enum qd_status status = is_line ? prepare_line(prepare, err) : prepare_table(prepare, err);

    return status == QD_OK ? qd_elementwise_prepared(prepare, is_line ? qd_q8_lines_run : qd_q8_table_run, err)
                           : status;
}

void qd_elementwise_run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct prepared *prepared = run->prepared;
    struct qd_q8_run own = *run;

    own.prepared = prepared->prepared;
    prepared->run(&own, thread, n_threads);
}

bool qd_elementwise_fuses(const struct qd_node *node, const struct qd_activation *act)
{
    (void)node;
    return act->kind == QD_ACT_CLIP;
}
