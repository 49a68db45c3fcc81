/* Sums and products of two tensors, lines per channel, tables of 256 bytes. */
#include <math.h>
#include <stdlib.h>

#include "export/internal.h"
#include "op/elementwise.h"

static bool is_constant(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    return graph->values[node->inputs[i]].data != NULL;
}

static bool takes_two(const struct qd_graph *graph, const struct qd_node *node)
{
    return node->n_inputs == 2 && !is_constant(graph, node, 0) && !is_constant(graph, node, 1);
}

struct add {
    struct qd_fixed mult[2];
    int zero[2];
    struct qd_integer_finish finish;
};

static bool add_takes(const struct qd_graph *graph, const struct qd_node *node)
{
    return (node->op == &qd_op_add || node->op == &qd_op_sub) && takes_two(graph, node);
}

static enum qd_status add_make(const struct qd_integer_build *build, struct qd_integer_step *step, struct qd_error *err)
{
    struct add *add = qd_arena_alloc(build->arena, sizeof(*add));
    double out = (double)qd_q8_of(build->graph, step->output).scale;

    if (!add)
        return qd_integer_no_memory(err);
    step->data = add;
    for (int i = 0; i < 2; i++) {
        struct qd_qparams q = qd_q8_of(build->graph, step->inputs[i]);

        add->mult[i] =
            qd_fixed_of((i && step->node->op == &qd_op_sub ? -1 : 1) * (double)q.scale / out, build->multiplier_bits);
        add->zero[i] = q.zero_point;
    }
    if (!qd_integer_sum_fits(255, add->mult[0], 255, add->mult[1]))
        return qd_error_set(err, QD_UNSUPPORTED, "its products pass int64");
    return qd_integer_finish_make(build, step->node, 1, &add->finish, err);
}

static void add_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    const struct add *add = step->data;
    int64_t n = qd_shape_count(&graph->values[step->output].shape);

    for (int64_t i = 0; i < n; i++) {
        int shift;
        int64_t p = qd_integer_sum(qd_integer_in(step, values, 0)[i] - add->zero[0], add->mult[0],
                                   qd_integer_in(step, values, 1)[i] - add->zero[1], add->mult[1], &shift);

        ((uint8_t *)values[step->output])[i] = qd_integer_finish_byte(&add->finish, p, shift, 0);
    }
}

static bool add_describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                         struct qd_buf *bin)
{
    const struct add *add = step->data;

    (void)graph;
    (void)bin;
    return json_object_set_new(json, "input_zero_points", json_pack("[i, i]", add->zero[0], add->zero[1])) == 0 &&
           json_object_set_new(json, "multiplier", qd_integer_multipliers(add->mult, 2)) == 0 &&
           json_object_set_new(json, "shift", qd_integer_shifts(add->mult, 2)) == 0 &&
           qd_integer_finish_describe(&add->finish, 1, json);
}

const struct qd_integer_kind qd_integer_add = {"add", add_takes, add_make, add_run, add_describe, NULL};

struct mul {
    struct qd_fixed *mult; /* [c] */
    int zero[2], c;
    bool rows[2]; /* the input is one row of c, for all pixels */
    struct qd_integer_finish finish;
};

static bool mul_takes(const struct qd_graph *graph, const struct qd_node *node)
{
    return node->op == &qd_op_mul && takes_two(graph, node);
}

static enum qd_status mul_make(const struct qd_integer_build *build, struct qd_integer_step *step, struct qd_error *err)
{
    const struct qd_graph *graph = build->graph;
    const struct qd_value *out = &graph->values[step->output];
    struct mul *mul = qd_arena_alloc(build->arena, sizeof(*mul));
    int64_t pixels;

    if (!mul)
        return qd_integer_no_memory(err);
    step->data = mul;
    qd_integer_pixels(out, &pixels, &mul->c);
    mul->mult = qd_arena_array(build->arena, (size_t)mul->c, sizeof(*mul->mult));
    if (!mul->mult)
        return qd_integer_no_memory(err);
    for (int i = 0; i < 2; i++) {
        mul->zero[i] = qd_q8_of(graph, step->inputs[i]).zero_point;
        mul->rows[i] = !qd_shape_equal(&graph->values[step->inputs[i]].shape, &out->shape);
    }
    for (int c = 0; c < mul->c; c++) {
        double scale = 1;

        for (int i = 0; i < 2; i++)
            scale *= (double)qd_q8_channel(graph, step->inputs[i], c).scale;
        mul->mult[c] = qd_fixed_of(scale / (double)qd_q8_channel(graph, step->output, c).scale, build->multiplier_bits);
        if (!qd_integer_sum_fits(65025, mul->mult[c], 0, (struct qd_fixed){0, 0}))
            return qd_error_set(err, QD_UNSUPPORTED, "its products pass int64");
    }
    return qd_integer_finish_make(build, step->node, mul->c, &mul->finish, err);
}

static void mul_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    const struct mul *mul = step->data;
    int64_t n = qd_shape_count(&graph->values[step->output].shape);

    for (int64_t i = 0; i < n; i++) {
        int c = (int)(i % mul->c);
        int64_t a = qd_integer_in(step, values, 0)[mul->rows[0] ? c : i] - mul->zero[0],
                b = qd_integer_in(step, values, 1)[mul->rows[1] ? c : i] - mul->zero[1];

        ((uint8_t *)values[step->output])[i] =
            qd_integer_finish_byte(&mul->finish, a * b * mul->mult[c].m, mul->mult[c].shift, c);
    }
}

static bool mul_describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                         struct qd_buf *bin)
{
    const struct mul *mul = step->data;

    (void)graph;
    (void)bin;
    return json_object_set_new(json, "input_zero_points", json_pack("[i, i]", mul->zero[0], mul->zero[1])) == 0 &&
           json_object_set_new(json, "input_is_row", json_pack("[b, b]", mul->rows[0], mul->rows[1])) == 0 &&
           json_object_set_new(json, "multiplier", qd_integer_multipliers(mul->mult, mul->c)) == 0 &&
           json_object_set_new(json, "shift", qd_integer_shifts(mul->mult, mul->c)) == 0 &&
           qd_integer_finish_describe(&mul->finish, mul->c, json);
}

const struct qd_integer_kind qd_integer_mul = {"mul", mul_takes, mul_make, mul_run, mul_describe, NULL};

/* A line's addend has at least so many fraction bits, where its multiplier leaves room for them. */
#define LINE_SHIFT 16

struct line {
    struct qd_fixed *mult; /* [c] */
    int64_t *addend;       /* [c], in 2^-shift steps of the output */
    int zero, c;
    struct qd_integer_finish finish;
};

static bool line_takes(const struct qd_graph *graph, const struct qd_node *node)
{
    return node->op->run_q8 == qd_q8_lines_run ||
           (node->op->run_q8 == qd_elementwise_run_q8 && qd_elementwise_is_line(graph, node));
}

/* The line of each channel, from the node's own definition: what it makes of 0 and of 1. */
static enum qd_status probe_lines(const struct qd_integer_build *build, const struct qd_integer_step *step, float *x,
                                  float *at_0, float *at_1, struct qd_error *err)
{
    int64_t n = qd_shape_count(&build->graph->values[step->output].shape);
    enum qd_status status = qd_integer_probe(build, step->node, &x, &at_0, err);

    for (int64_t i = 0; i < n; i++)
        x[i] = 1;
    return status == QD_OK ? qd_integer_probe(build, step->node, &x, &at_1, err) : status;
}

static enum qd_status set_lines(const struct qd_integer_build *build, const struct qd_integer_step *step,
                                struct line *line, struct qd_arena *scratch, struct qd_error *err)
{
    const struct qd_value *value = &build->graph->values[step->output];
    struct qd_qparams in = qd_q8_of(build->graph, step->inputs[0]), out = qd_q8_of(build->graph, step->output);
    size_t n = (size_t)qd_shape_count(&value->shape);
    float *x = qd_arena_array(scratch, n, sizeof(float)), *at_0 = qd_arena_array(scratch, n, sizeof(float));
    float *at_1 = qd_arena_array(scratch, n, sizeof(float));
    enum qd_status status;

    if (!x || !at_0 || !at_1)
        return qd_integer_no_memory(err);
    status = probe_lines(build, step, x, at_0, at_1, err);
    if (status != QD_OK)
        return status;
    for (int64_t i = 0; i < (int64_t)n; i++) {
        int64_t c = qd_integer_stored(value, i);
        double addend;

        if (c >= line->c) /* the first pixel has them all */
            continue;
        line->mult[c] = qd_fixed_of(((double)at_1[i] - (double)at_0[i]) * (double)in.scale / (double)out.scale,
                                    build->multiplier_bits);
        while (line->mult[c].shift < LINE_SHIFT && abs(line->mult[c].m) < 1 << 29) {
            line->mult[c].m *= 2;
            line->mult[c].shift++;
        }
        addend = ldexp((double)at_0[i] / (double)out.scale, line->mult[c].shift);
        if (!(255 * fabs((double)line->mult[c].m) + fabs(addend) < 0x1p62))
            return qd_error_set(err, QD_UNSUPPORTED, "channel %lld: its products pass int64", (long long)c);
        line->addend[c] = (int64_t)rint(addend);
    }
    return QD_OK;
}

static enum qd_status line_make(const struct qd_integer_build *build, struct qd_integer_step *step,
                                struct qd_error *err)
{
    struct line *line = qd_arena_alloc(build->arena, sizeof(*line));
    struct qd_arena scratch = {0};
    int64_t pixels;
    enum qd_status status;

    if (!line)
        return qd_integer_no_memory(err);
    step->data = line;
    qd_integer_pixels(&build->graph->values[step->output], &pixels, &line->c);
    line->mult = qd_arena_array(build->arena, (size_t)line->c, sizeof(*line->mult));
    line->addend = qd_arena_array(build->arena, (size_t)line->c, sizeof(*line->addend));
    line->zero = qd_q8_of(build->graph, step->inputs[0]).zero_point;
    if (!line->mult || !line->addend)
        return qd_integer_no_memory(err);
    status = set_lines(build, step, line, &scratch, err);
    qd_arena_done(&scratch);
    return status == QD_OK ? qd_integer_finish_make(build, step->node, line->c, &line->finish, err) : status;
}

static void line_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    const struct line *line = step->data;
    int64_t n = qd_shape_count(&graph->values[step->output].shape);

    for (int64_t i = 0; i < n; i++) {
        int c = (int)(i % line->c);
        int64_t p = (int64_t)(qd_integer_in(step, values, 0)[i] - line->zero) * line->mult[c].m + line->addend[c];

        ((uint8_t *)values[step->output])[i] = qd_integer_finish_byte(&line->finish, p, line->mult[c].shift, c);
    }
}

static bool line_describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                          struct qd_buf *bin)
{
    const struct line *line = step->data;

    (void)graph;
    (void)bin;
    return json_object_set_new(json, "input_zero_point", json_integer(line->zero)) == 0 &&
           json_object_set_new(json, "multiplier", qd_integer_multipliers(line->mult, line->c)) == 0 &&
           json_object_set_new(json, "shift", qd_integer_shifts(line->mult, line->c)) == 0 &&
           json_object_set_new(json, "addend", qd_integer_ints(line->addend, line->c)) == 0 &&
           qd_integer_finish_describe(&line->finish, line->c, json);
}

const struct qd_integer_kind qd_integer_line = {"line", line_takes, line_make, line_run, line_describe, NULL};
