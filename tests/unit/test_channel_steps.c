/* Which steps per channel a tensor may have, by what reads it and how many bits a multiplier has. */
#include <stdio.h>
#include <string.h>

#include "quant/channel_steps.h"
#include "tests/unit/build_graph.h"

#define C 8

static int conv(const char *name, int x, int64_t group)
{
    return conv_1x1(name, x, C, group);
}

/* A convolution "a" that a depthwise one reads; with a gate: that and its squeeze-and-excite block. Returns "a". */
static int build(bool gate)
{
    int a, y;

    begin(shape4(C, 4, 4));
    a = y = conv("a", graph->pixels, 1);
    if (gate) {
        int inputs[2] = {a, node1("HardSigmoid", "gate", conv("squeeze", node1("GlobalAveragePool", "mean", a), 1))};

        y = node("Mul", "product", inputs, 2, NULL, 0);
    }
    end(conv("depthwise", y, C));
    for (int n = 0; n < graph->n_nodes; n++)
        graph->nodes[n].precision = QD_PRECISION_Q8;
    return a;
}

/* Channels whose largest values are a third of an octave apart, even below that. */
static void fill(struct qd_channel_statistics *channels)
{
    memset(channels, 0, C * sizeof(*channels));
    for (int c = 0; c < C; c++) {
        int bins = 8 * -QD_CHANNEL_LOWEST - 3 * c;

        channels[c].max = exp2f((float)(-3 * c) / 8);
        for (int i = 0; i < bins; i++)
            channels[c].n[0][i] = 1 + (uint32_t)exp2f((float)i / 8);
    }
}

static bool is_power_of_two(float x)
{
    int exponent;

    return frexpf(x, &exponent) == 0.5f;
}

/* How many of the steps, and the scale, are no powers of two. */
static int n_others(bool gate, const struct qd_calibration_form *form)
{
    struct qd_channel_statistics channels[C], *by_value[32] = {NULL};
    struct qd_statistics s = {.channels = by_value, .n_images = 1};
    struct qd_arena arena = {0};
    struct qd_step_class *classes;
    struct qd_class_steps found;
    int a = build(gate), n_classes, n = 0;

    ck_assert_int_le(graph->n_values, 32);
    ck_assert_ok(qd_step_classes_find(graph, form, &arena, &classes, &n_classes, &err), &err);
    ck_assert_int_gt(n_classes, 0);
    ck_assert_int_eq(classes->n_values, 1);
    ck_assert_int_eq(classes->values[0], a);
    graph->values[a].q = (struct qd_qparams){0x1p-7f, 0, 8};
    fill(channels);
    by_value[a] = channels;
    s.graph = graph;
    ck_assert_ok(qd_channel_steps_choose(&s, classes, false, form, &arena, &found, &err), &err);
    ck_assert(found.found);
    for (int c = 0; c < C; c++)
        n += !is_power_of_two(found.steps[0][c]);
    n += !is_power_of_two(found.q[0].scale);
    qd_arena_done(&arena);
    qd_graph_free(graph);
    return n;
}

/* Weights' scales fit any steps; what a mean and a product multiply with fits powers of two alone. */
START_TEST(test_narrow_multipliers)
{
    struct qd_calibration_form form = {.activation_bits = 8, .weight_bits = 8, .multiplier_bits = 24};

    ck_assert_int_gt(n_others(true, &form), 0);
    form.multiplier_bits = 1;
    ck_assert_int_gt(n_others(false, &form), 0);
    ck_assert_int_eq(n_others(true, &form), 0);
    form.power_of_two = true;
    ck_assert_int_eq(n_others(false, &form), 0);
    ck_assert_int_eq(n_others(true, &form), 0);
}
END_TEST

QD_UNIT_MAIN("channel steps", test_narrow_multipliers)
