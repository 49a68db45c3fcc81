/* Which channels of which tensors have one step, because operators copy them, and plans with such steps. */
#include <stdio.h>
#include <string.h>

#include "op/channel_shuffle.h"
#include "op/repeat_channels.h"
#include "quant/channel_steps.h"
#include "tests/unit/build_graph.h"

#define C 8
#define SIDE 6

static const struct qd_calibration_form form = {.activation_bits = 8, .weight_bits = 8, .multiplier_bits = 24};

static int conv(const char *name, int x, int64_t group)
{
    return conv_1x1(name, x, C, group);
}

static int concat(const char *name, int a, int b)
{
    struct qd_attr axis = one("axis", 1);

    return node("Concat", name, (const int[]){a, b}, 2, &axis, 1);
}

static int shuffle(const char *name, int x)
{
    static struct qd_channel_shuffle_params two = {2};
    int y = node1("quantd.ChannelShuffle", name, x);

    graph->nodes[graph->n_nodes - 1].params = &two;
    return y;
}

/* Channels begin, begin + step .. of x, below 2 C. */
static int slice(const char *name, int x, int64_t begin, int64_t end, int64_t step)
{
    char text[4][32];
    const int64_t values[4] = {begin, end, 1, step};
    int inputs[5] = {x};

    for (int i = 0; i < 4; i++) {
        snprintf(text[i], sizeof(text[i]), "%s_%d", name, i);
        inputs[1 + i] = integers(text[i], 1, &values[i]);
    }
    return node("Slice", name, inputs, 5, NULL, 0);
}

static void split(int x, int *ret)
{
    struct qd_attr axis = one("axis", 1);
    const struct qd_op *op = qd_op_find("Split");
    struct qd_node *made;

    ck_assert_ok(qd_graph_add_value(graph, "split0", &ret[0], &err), &err);
    ck_assert_ok(qd_graph_add_value(graph, "split1", &ret[1], &err), &err);
    ck_assert_ok(qd_graph_add_node(graph, "split", "Split", op, &x, 1, ret, 2, &made, &err), &err);
    made->opset = 13;
    made->attrs = &axis;
    made->n_attrs = 1;
    ck_assert_ok(op->parse(graph, made, &err), &err);
    ck_assert_ok(op->infer(graph, made, &err), &err);
    made->n_attrs = 0;
}

static int pooled(const char *name, int x)
{
    static const int64_t two[] = {2, 2};
    struct qd_attr attrs[] = {ints("kernel_shape", 2, two), ints("strides", 2, two)};

    return node("MaxPool", name, &x, 1, attrs, 2);
}

static int resized(const char *name, int x)
{
    struct qd_shape shape = {.n_dims = 1, .dims = {4}};
    int scales, inputs[3] = {x, QD_NO_VALUE};
    const float factors[] = {1, 1, 2, 2};

    ck_assert_ok(qd_graph_add_constant(graph, "factors", QD_F32, &shape, factors, &scales, NULL, &err), &err);
    inputs[2] = scales;
    return node("Resize", name, inputs, 3, NULL, 0);
}

static int padded(const char *name, int x, const int64_t *pads)
{
    char text[32];
    int inputs[2] = {x};

    snprintf(text, sizeof(text), "%s_pads", name);
    inputs[1] = integers(text, 8, pads);
    return node("Pad", name, inputs, 2, NULL, 0);
}

static int repeated(const char *name, int x)
{
    static struct qd_repeat_channels_params twice = {2};
    const struct qd_op *op = qd_op_find("quantd.RepeatChannels");
    struct qd_node *made;
    int y;

    ck_assert_ok(qd_graph_add_value(graph, name, &y, &err), &err);
    ck_assert_ok(qd_graph_add_node(graph, name, op->name, op, &x, 1, &y, 1, &made, &err), &err);
    made->params = &twice;
    ck_assert_ok(op->infer(graph, made, &err), &err);
    return y;
}

static void all_in_int8(void)
{
    for (int n = 0; n < graph->n_nodes; n++)
        graph->nodes[n].precision = QD_PRECISION_Q8;
}

static float centre(const struct qd_frame *frame, int value, int64_t c)
{
    const struct qd_shape *shape = &graph->values[value].shape;
    int64_t plane = shape->dims[2] * shape->dims[3];

    return qd_frame_value_f32(frame, value, 0)[c * plane + shape->dims[2] / 2 * shape->dims[3] + shape->dims[3] / 2];
}

/* How many channels of an output were found to hold what their sources do. */
static int check_sources(const struct qd_frame *frame, const struct qd_node *node, int output)
{
    int64_t n = graph->values[node->outputs[output]].shape.dims[1];

    for (int64_t c = 0; c < n; c++) {
        struct qd_channel source;

        if (strcmp(node->name, "more") == 0) {
            ck_assert(!node->op->channel_source(graph, node, output, c, &source));
            continue;
        }
        ck_assert(node->op->channel_source(graph, node, output, c, &source));
        ck_assert_float_eq(centre(frame, node->outputs[output], c), centre(frame, source.value, source.c));
    }
    return (int)n;
}

/* What each operator says of its channels is what it does, where every channel has a value of its own. */
START_TEST(test_sources)
{
    static const int64_t around[] = {0, 0, 0, 0, 0, 0, 1, 1}, channels[] = {0, 1, 0, 0, 0, 0, 0, 0};
    struct qd_plan_options options = {.max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR), .keep_all = true};
    struct qd_plan *plan;
    struct qd_frame *frame;
    int halves[2], y, x, n_checked = 0;

    begin(shape4(C, SIDE, SIDE));
    x = node1("Relu", "once", graph->pixels);
    y = shuffle("shuffle", concat("concat", x, node("Add", "twice", (const int[]){x, x}, 2, NULL, 0)));
    split(slice("slice", y, 1, 13, 2), halves);
    y = slice("backwards", halves[1], 2, -100, -1);
    y = repeated("repeat", padded("pad", resized("resize", pooled("pool", y)), around));
    node1("GlobalMaxPool", "global", y);
    end(padded("more", y, channels));
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, 1, &frame, &err), &err);
    for (int i = 0; i < C * SIDE * SIDE; i++)
        ((uint8_t *)qd_frame_input(frame, 0))[i] = (uint8_t)(2 * (i % C) + 1);
    qd_frame_run(frame, 1, 1);
    for (int n = 0; n < graph->n_nodes; n++)
        for (int o = 0; graph->nodes[n].op->channel_source && o < graph->nodes[n].n_outputs; o++)
            n_checked += check_sources(frame, &graph->nodes[n], o);
    ck_assert_int_gt(n_checked, 50);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

/* What is in front of a convolution in the graphs below. */
enum reader { DEPTHWISE, FLOATS, RESHAPE };

/*
 * Two convolutions, whose channels differ in size by up to 128, through a Concat, a shuffle, a Slice and a Requantize
 * to a depthwise one. mixed: the second is one step for all, as an Add gives it.
 */
static void build(bool mixed, enum reader reader)
{
    int a, b, y;

    begin(shape4(C, SIDE, SIDE));
    a = conv("a", graph->pixels, 1);
    b = conv("b", graph->pixels, 1);
    for (int i = 0; i < C * C; i++) {
        ((float *)(uintptr_t)graph->values[graph->nodes[0].inputs[1]].data)[i] /= (float)(1 << i / C);
        ((float *)(uintptr_t)graph->values[graph->nodes[1].inputs[1]].data)[i] /= 256.0f * (float)(1 << i / C);
    }
    if (mixed)
        b = node("Add", "sum", (const int[]){b, b}, 2, NULL, 0);
    y = slice("slice", shuffle("shuffle", concat("concat", a, b)), 0, C, 1);
    y = node1("quantd.Requantize", "requantize", y);
    if (reader == RESHAPE) {
        const int64_t shape[] = {1, C, SIDE, SIDE};

        y = node("Reshape", "reshape", (const int[]){y, integers("shape", 4, shape)}, 2, NULL, 0);
    }
    y = conv("depthwise", y, C);
    for (int i = 0; i < C; i++)
        ((float *)(uintptr_t)graph->values[graph->nodes[graph->n_nodes - 1].inputs[1]].data)[i] *=
            (float)(1 << i / 2) * (i % 2 ? 256.0f : 1.0f);
    end(y);
    all_in_int8();
    if (reader == FLOATS)
        graph->nodes[graph->n_nodes - 1].precision = QD_PRECISION_F32;
}

static int value_of(const char *name)
{
    return qd_graph_find_value(graph, name);
}

static int slot_of(const struct qd_step_class *class, const char *name, int c)
{
    int place = qd_step_class_place(class, value_of(name));

    ck_assert_int_ge(place, 0);
    return class->slots[place][c];
}

START_TEST(test_classes)
{
    struct qd_arena arena = {0};
    struct qd_step_class *classes;
    int n;

    for (int mixed = 0; mixed < 2; mixed++) {
        build(mixed, DEPTHWISE);
        ck_assert_ok(qd_step_classes_find(graph, &form, &arena, &classes, &n, &err), &err);
        ck_assert_int_eq(n, 1);
        ck_assert_int_eq(classes->n_values, 6);
        ck_assert_int_eq(classes->n_slots, mixed ? C + 1 : 2 * C);
        ck_assert_int_eq(qd_step_class_place(classes, value_of("depthwise")), -1);
        for (int c = 0; c < C; c++) {
            ck_assert_int_eq(slot_of(classes, "concat", c), slot_of(classes, "a", c));
            ck_assert_int_eq(slot_of(classes, "concat", C + c), slot_of(classes, mixed ? "sum" : "b", c));
            ck_assert_int_eq(slot_of(classes, "requantize", c),
                             slot_of(classes, c % 2 ? mixed ? "sum" : "b" : "a", c / 2));
        }
        qd_graph_free(graph);
    }
    /* Nobody gains, or a reader has another order of channels. */
    for (int reader = FLOATS; reader <= RESHAPE; reader++) {
        build(false, reader);
        ck_assert_ok(qd_step_classes_find(graph, &form, &arena, &classes, &n, &err), &err);
        ck_assert_int_eq(n, 0);
        qd_graph_free(graph);
    }
    qd_arena_done(&arena);
}
END_TEST

/* Channels that no tensor of the run gives, a constant's or a Resize's more of them: there are no steps for those. */
START_TEST(test_no_source)
{
    struct qd_arena arena = {0};
    struct qd_step_class *classes;
    const float factors[] = {1, 2, 1, 1};
    int n;

    for (int more = 0; more < 2; more++) {
        int y, inputs[3] = {0, QD_NO_VALUE};

        begin(shape4(C, SIDE, SIDE));
        inputs[0] = conv("a", graph->pixels, 1);
        if (more) {
            struct qd_shape shape = {.n_dims = 1, .dims = {4}};

            ck_assert_ok(qd_graph_add_constant(graph, "factors", QD_F32, &shape, factors, &inputs[2], NULL, &err),
                         &err);
            y = node("Resize", "more", inputs, 3, NULL, 0);
        } else {
            y = concat("beside", constant("places", shape4(C, SIDE, SIDE), 1), inputs[0]);
        }
        y = node1("quantd.Requantize", "requantize", y);
        inputs[0] = y;
        inputs[1] = constant("b_w", (struct qd_shape){.n_dims = 4, .dims = {2 * C, 1, 1, 1}}, 1);
        y = node("Conv", "b", inputs, 2, (struct qd_attr[]){one("group", 2 * C)}, 1);
        end(y);
        all_in_int8();
        ck_assert_ok(qd_step_classes_find(graph, &form, &arena, &classes, &n, &err), &err);
        ck_assert_int_eq(n, 0);
        qd_graph_free(graph);
    }
    qd_arena_done(&arena);
}
END_TEST

/* Every value of the class its channels' own steps, from a float run. */
static void give_steps(const struct qd_step_class *class, const struct qd_frame *f32, struct qd_arena *arena)
{
    double *steps = qd_arena_array(arena, (size_t) class->n_slots, sizeof(double));

    for (int i = 0; i < class->n_values; i++)
        for (int j = 0; j < qd_shape_count(&graph->values[class->values[i]].shape); j++) {
            double *step = &steps[class->slots[i][j / (SIDE * SIDE)]];

            *step = fmax(*step, fabs((double)qd_frame_value_f32(f32, class->values[i], 0)[j]) / 127);
        }
    for (int i = 0; i < class->n_values; i++) {
        struct qd_value *v = &graph->values[class->values[i]];
        float *own = qd_arena_array(arena, (size_t)v->shape.dims[1], sizeof(float));
        double largest = 0;

        for (int c = 0; c < v->shape.dims[1]; c++)
            largest = fmax(largest, steps[class->slots[i][c]]);
        for (int c = 0; c < v->shape.dims[1]; c++)
            own[c] = (float)(steps[class->slots[i][c]] / largest);
        v->q = (struct qd_qparams){(float)largest, 128, 8};
        v->channel_steps = own;
    }
}

static struct qd_frame *run(enum qd_precision precision, struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {.precision = precision, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR)};
    struct qd_frame *frame;

    options.keep_all = precision == QD_PRECISION_F32;
    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, 1, &frame, &err), &err);
    for (int j = 0; j < C * SIDE * SIDE; j++)
        qd_frame_input(frame, 0)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11);
    qd_frame_run(frame, 1, 1);
    return frame;
}

/* Noise of the int8 output against fp32's, as a part of its signal; and how many nodes run in float. */
static double noise(const struct qd_frame *f32, int *ret_n_float)
{
    struct qd_plan *plan;
    struct qd_frame *q8 = run(QD_PRECISION_Q8, &plan);
    double error = 0, signal = 0;

    for (int i = 0; i < C * SIDE * SIDE; i++) {
        double want = (double)qd_frame_output(f32, 0, 0)[i];

        error += ((double)qd_frame_output(q8, 0, 0)[i] - want) * ((double)qd_frame_output(q8, 0, 0)[i] - want);
        signal += want * want;
    }
    *ret_n_float = 0;
    for (int step = 0; step < qd_plan_n_steps(plan); step++) {
        struct qd_step_info info;

        qd_plan_step(plan, step, &info);
        *ret_n_float += info.node && info.kind == QD_STEP_F32;
    }
    qd_frame_free(q8);
    qd_plan_free(plan);
    return error / signal;
}

/* A plan carries them through what copies bytes, and runs in float what would give a channel another step. */
START_TEST(test_plan)
{
    struct qd_arena arena = {0};
    struct qd_step_class *classes;
    struct qd_plan *plan;
    struct qd_frame *f32;
    double without;
    float *steps;
    int n, n_float;

    build(false, DEPTHWISE);
    f32 = run(QD_PRECISION_F32, &plan);
    scales_from(f32, 1);
    without = noise(f32, &n_float);
    ck_assert_int_eq(n_float, 0);
    ck_assert_ok(qd_step_classes_find(graph, &form, &arena, &classes, &n, &err), &err);
    give_steps(classes, f32, &arena);
    ck_assert_double_lt(noise(f32, &n_float), without / 100);
    ck_assert_int_eq(n_float, 0);
    steps = (float *)(uintptr_t)graph->values[value_of("slice")].channel_steps;
    steps[3] *= 1.01f;
    noise(f32, &n_float);
    ck_assert_int_eq(n_float, 2); /* the Slice, and the Requantize, which is no name any more */
    steps[3] /= 1.01f;
    qd_frame_free(f32);
    qd_plan_free(plan);
    qd_graph_free(graph);
    qd_arena_done(&arena);
}
END_TEST

/* What a value of the class has is its own channels', not the whole class's. */
START_TEST(test_choice)
{
    struct qd_arena arena = {0};
    struct qd_step_class *classes;
    struct qd_channel_statistics *by_value[32] = {NULL};
    struct qd_statistics s = {.channels = by_value, .n_images = 1};
    struct qd_class_steps found;
    struct qd_calibration_form plain = form;
    struct qd_qparams a, b, all;
    int n;

    build(true, DEPTHWISE);
    ck_assert_int_le(graph->n_values, 32);
    ck_assert_ok(qd_step_classes_find(graph, &form, &arena, &classes, &n, &err), &err);
    for (int i = 0; i < classes->n_values; i++) {
        int v = classes->values[i], n_channels = (int)graph->values[v].shape.dims[1];

        graph->values[v].q = (struct qd_qparams){0x1p-7f, 0, 8};
        by_value[v] = qd_arena_array(&arena, (size_t)n_channels, sizeof(**by_value));
        for (int c = 0; c < n_channels; c++) {
            int slot = classes->slots[i][c], sum = slot_of(classes, "sum", 0);
            int bins = 8 * -QD_CHANNEL_LOWEST - (slot == sum ? 40 : 4 * slot);

            by_value[v][c].max = exp2f((float)bins / 8 + QD_CHANNEL_LOWEST);
            for (int bin = 0; bin < bins; bin++)
                by_value[v][c].n[0][bin] = 1 + (uint32_t)exp2f((float)bin / 8);
        }
    }
    s.graph = graph;
    ck_assert_ok(qd_channel_steps_choose(&s, classes, false, &form, &arena, &found, &err), &err);
    ck_assert(found.found);
    a = found.q[qd_step_class_place(classes, value_of("a"))];
    b = found.q[qd_step_class_place(classes, value_of("sum"))];
    all = found.q[qd_step_class_place(classes, value_of("concat"))];
    ck_assert_float_eq(all.scale, a.scale);
    ck_assert_float_lt(b.scale, a.scale / 16);
    ck_assert_int_eq(b.zero_point, a.zero_point);
    ck_assert_ptr_null(found.steps[qd_step_class_place(classes, value_of("sum"))]);
    for (int c = 0; c < 2 * C; c++) {
        float step = all.scale * found.steps[qd_step_class_place(classes, value_of("concat"))][c];
        float want = c < C ? a.scale * found.steps[qd_step_class_place(classes, value_of("a"))][c] : b.scale;

        ck_assert_float_le(fabsf(step / want - 1), 1e-6f);
    }
    /* With negative values on one side of a cut the coarsest scale's zero point, of the other side, is not for all. */
    for (int c = 0; c < C; c++)
        by_value[value_of("sum")][c].min = -by_value[value_of("sum")][c].max;
    plain.plain_zero = true;
    ck_assert_ok(qd_channel_steps_choose(&s, classes, false, &plain, &arena, &found, &err), &err);
    ck_assert(found.found);
    ck_assert_int_eq(found.q[0].zero_point, 128);
    qd_graph_free(graph);
    qd_arena_done(&arena);
}
END_TEST

QD_UNIT_MAIN("step classes", test_sources, test_classes, test_no_source, test_plan, test_choice)
