/* Bytes for bytes: functions of one byte as tables, and all that moves bytes without touching them as index maps. */
#include "export/internal.h"
#include "op/resize.h"
#include "op/ops.h"
#include "op/q8.h"

#define MAX_INDEX (1 << 24) /* indices go through floats */

static bool table_takes(const struct qd_graph *graph, const struct qd_node *node)
{
    return qd_integer_is_table(graph, node);
}

/* y = f(x) for 256 reals, by the node's definition. */
static enum qd_status function_of(const struct qd_integer_build *build, const struct qd_node *node, float *x, float *y,
                                  struct qd_error *err)
{
    struct qd_activation act;

    if (!node->op->as_activation || !node->op->as_activation(build->graph, node, &act))
        return qd_integer_probe(build, node, &x, &y, err);
    for (int b = 0; b < 256; b++)
        y[b] = (float)qd_activation_f64(&act, (double)x[b]);
    return QD_OK;
}

static enum qd_status table_make(const struct qd_integer_build *build, struct qd_integer_step *step,
                                 struct qd_error *err)
{
    uint8_t *table = qd_arena_alloc(build->arena, 256);
    struct qd_qparams in = qd_q8_of(build->graph, step->inputs[0]), out = qd_q8_of(build->graph, step->output);
    float x[256], y[256];
    enum qd_status status;

    if (!table)
        return qd_integer_no_memory(err);
    step->data = table;
    for (int b = 0; b < 256; b++)
        x[b] = (float)(b - in.zero_point) * in.scale;
    status = function_of(build, step->node, x, y, err);
    for (int b = 0; b < 256 && status == QD_OK; b++)
        table[b] = qd_q8_byte((float)qd_activation_f64(&step->node->act, (double)y[b]), out);
    return status;
}

static void table_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    int64_t n = qd_shape_count(&graph->values[step->output].shape);

    for (int64_t i = 0; i < n; i++)
        ((uint8_t *)values[step->output])[i] = ((const uint8_t *)step->data)[qd_integer_in(step, values, 0)[i]];
}

static bool table_describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                           struct qd_buf *bin)
{
    int64_t values[256];

    (void)graph;
    (void)bin;
    for (int b = 0; b < 256; b++)
        values[b] = ((const uint8_t *)step->data)[b];
    return json_object_set_new(json, "table", qd_integer_ints(values, 256)) == 0;
}

const struct qd_integer_kind qd_integer_table = {"table", table_takes, table_make, table_run, table_describe, NULL};

struct copy {
    int32_t *from; /* by byte of the output: an index into all inputs one behind the other, or -1: fill */
    int64_t n;
    int *begin; /* where each input begins in them */
    uint8_t fill;
};

/* Resize shares a scale too, but only nearest copies. */
static bool copy_takes(const struct qd_graph *graph, const struct qd_node *node)
{
    (void)graph;
    if (node->op->run_q8 == qd_resize_run_q8 &&
        ((const struct qd_resize_params *)node->params)->attrs.mode != QD_RESIZE_NEAREST)
        return false;
    return (node->op->flags & QD_OP_SAME_SCALE) != 0;
}

static const struct qd_shape *shape_of(const struct qd_integer_build *build, int value)
{
    return &build->graph->values[value].shape;
}

/* Runs the node on numbers of elements, counted from first, and finds them in the output. */
static enum qd_status follow(const struct qd_integer_build *build, const struct qd_integer_step *step, float first,
                             float *numbers, float *const *in, float **out, struct qd_error *err)
{
    for (int i = 0; i < step->n_inputs; i++) {
        int64_t n = qd_shape_count(shape_of(build, step->inputs[i]));

        for (int64_t j = 0; j < n; j++)
            in[i][j] = first + (float)(in[i] - numbers + j);
    }
    return qd_integer_probe(build, step->node, in, out, err);
}

/* The input that number, an element in ONNX's order, belongs to, as an index in stored order. */
static int64_t stored_index(const struct qd_integer_build *build, const struct qd_integer_step *step,
                            const struct copy *copy, int64_t number)
{
    int i = step->n_inputs - 1;

    while (copy->begin[i] > number)
        i--;
    return copy->begin[i] + qd_integer_stored(&build->graph->values[step->inputs[i]], number - copy->begin[i]);
}

static enum qd_status fill_map(const struct qd_integer_build *build, const struct qd_integer_step *step,
                               struct copy *copy, int64_t n_in, int64_t n_out, struct qd_arena *scratch,
                               struct qd_error *err)
{
    const struct qd_node *node = step->node;
    float *numbers = qd_arena_array(scratch, (size_t)n_in, sizeof(float)), *second = NULL;
    float **in = qd_arena_array(scratch, (size_t)step->n_inputs, sizeof(*in));
    float **out = qd_arena_array(scratch, (size_t)node->n_outputs, sizeof(*out));
    int which = 0;
    enum qd_status status = QD_OK;

    if (!numbers || !in || !out)
        return qd_integer_no_memory(err);
    for (int i = 0; i < step->n_inputs; i++)
        in[i] = numbers + copy->begin[i];
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] != QD_NO_VALUE)
            out[i] = qd_arena_array(scratch, (size_t)qd_shape_count(shape_of(build, node->outputs[i])), sizeof(float));
        which = node->outputs[i] == step->output ? i : which;
    }
    second = qd_arena_array(scratch, (size_t)n_out, sizeof(float));
    if (!second || !out[which])
        return qd_integer_no_memory(err);
    status = follow(build, step, 2, numbers, in, out, err);
    for (int64_t i = 0; i < n_out; i++)
        second[i] = out[which][i];
    if (status == QD_OK)
        status = follow(build, step, 1, numbers, in, out, err);
    /* What does not count along is a constant of the node's own. */
    for (int64_t i = 0; i < n_out && status == QD_OK; i++) {
        float now = out[which][i];
        int64_t at = qd_integer_stored(&build->graph->values[step->output], i);

        if (second[i] == now)
            copy->fill = qd_q8_byte(now, qd_q8_of(build->graph, step->output));
        copy->from[at] = second[i] == now ? -1 : (int32_t)stored_index(build, step, copy, (int64_t)now - 1);
    }
    return status;
}

static enum qd_status copy_make(const struct qd_integer_build *build, struct qd_integer_step *step,
                                struct qd_error *err)
{
    struct copy *copy = qd_arena_alloc(build->arena, sizeof(*copy));
    struct qd_arena scratch = {0};
    int64_t n_in = 0;
    enum qd_status status;

    if (!copy)
        return qd_integer_no_memory(err);
    step->data = copy;
    copy->n = qd_shape_count(shape_of(build, step->output));
    copy->from = qd_arena_array(build->arena, (size_t)copy->n, sizeof(*copy->from));
    copy->begin = qd_arena_array(build->arena, (size_t)step->n_inputs, sizeof(*copy->begin));
    if (!copy->from || !copy->begin)
        return qd_integer_no_memory(err);
    for (int i = 0; i < step->n_inputs; i++) {
        copy->begin[i] = (int)n_in;
        n_in += qd_shape_count(shape_of(build, step->inputs[i]));
        if (n_in + 2 >= MAX_INDEX)
            return qd_error_set(err, QD_UNSUPPORTED, "its inputs have more than %d elements", MAX_INDEX);
    }
    status = fill_map(build, step, copy, n_in, copy->n, &scratch, err);
    qd_arena_done(&scratch);
    return status;
}

static void copy_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    const struct copy *copy = step->data;

    (void)graph;
    for (int64_t at = 0; at < copy->n; at++) {
        int i = step->n_inputs - 1;

        while (i > 0 && copy->begin[i] > copy->from[at])
            i--;
        ((uint8_t *)values[step->output])[at] =
            copy->from[at] < 0 ? copy->fill : qd_integer_in(step, values, i)[copy->from[at] - copy->begin[i]];
    }
}

static bool copy_describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                          struct qd_buf *bin)
{
    const struct copy *copy = step->data;
    json_t *shape = json_pack("[I]", (json_int_t)copy->n);

    (void)graph;
    return json_object_set_new(json, "fill", json_integer(copy->fill)) == 0 &&
           json_object_set_new(
               json, "from", qd_integer_append(bin, copy->from, (size_t)copy->n * sizeof(int32_t), "s32", shape)) == 0;
}

const struct qd_integer_kind qd_integer_copy = {"copy", copy_takes, copy_make, copy_run, copy_describe, NULL};
