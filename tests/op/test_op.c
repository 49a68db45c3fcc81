/*
 * Operators one by one: hand-worked float cases, and the int8 form against the float one within a stated number of
 * steps of the output, for every tier and 1 to 3 threads (all with the same bytes).
 */
#include "op/channel_shuffle.h"
#include "op/conv.h"
#include "pass/pass.h"
#include "tests/op/check_q8.h"

static const struct qd_activation activations[] = {
    {.kind = QD_ACT_CLIP, .min = 0, .max = 6},
    {.kind = QD_ACT_LEAKY, .alpha = 0.1f},
    {.kind = QD_ACT_HARDSWISH},
    {.kind = QD_ACT_HARDSIGMOID, .alpha = 0.2f, .beta = 0.5f},
    {.kind = QD_ACT_SIGMOID},
    {.kind = QD_ACT_TANH},
    {.kind = QD_ACT_SILU},
    {.kind = QD_ACT_GELU},
    {.kind = QD_ACT_MISH},
};

/* A Conv behind it: every value of a convolution is within a few steps, its weights are rounded too. */
static void check_conv(int64_t c, int64_t n, int64_t kernel, int64_t group, const int64_t *stride,
                       const int64_t *dilation, const int64_t *pads, const char *act)
{
    struct qd_attr attrs[4] = {ints("strides", 2, stride), ints("dilations", 2, dilation), ints("pads", 4, pads),
                               one("group", group)};
    int inputs[3], y;

    inputs[0] = start_features(c);
    /* Behind a bounded function the weights' rounding counts by what goes in, not by what comes out. */
    inputs[1] = constant("w", (struct qd_shape){4, {n, c / group, kernel, kernel}}, act ? 0.1f : 1);
    inputs[2] = constant("b", (struct qd_shape){1, {n}}, act ? 1 : 2);
    y = node("Conv", "y", inputs, 3, attrs, 4);
    for (size_t i = 0; act && i < QD_ARRAY_SIZE(activations); i++)
        if (strcmp(act, qd_activation_name(&activations[i])) == 0)
            graph->nodes[graph->n_nodes - 1].act = activations[i];
    end(y);
    check_q8(5);
}

static const int64_t ones[] = {1, 1}, twos[] = {2, 2}, none[] = {0, 0, 0, 0}, same[] = {1, 1, 1, 1},
                     uneven[] = {0, 1, 1, 2};

START_TEST(test_conv)
{
    check_conv(8, 16, 1, 1, ones, ones, none, NULL);
    check_conv(8, 70, 3, 1, ones, ones, same, NULL);
    check_conv(5, 7, 3, 1, twos, ones, uneven, NULL);
    check_conv(4, 9, 3, 1, ones, twos, same, NULL);
    check_conv(8, 8, 2, 2, twos, ones, none, NULL);
    check_conv(8, 16, 3, 8, ones, ones, same, NULL);
}
END_TEST

START_TEST(test_conv_depthwise)
{
    check_conv(8, 8, 3, 8, ones, ones, same, NULL);
    check_conv(35, 35, 3, 35, twos, ones, uneven, NULL);
    check_conv(20, 20, 5, 20, ones, ones, same, NULL);
}
END_TEST

/* Two and three outputs per channel: a plain depthwise convolution over repeated channels gives what the Conv gives. */
START_TEST(test_conv_multiplier)
{
    for (int64_t times = 2; times <= 3; times++) {
        struct qd_attr attrs[] = {ints("pads", 4, same), one("group", 20)};
        struct qd_plan *plan, *passed_plan;
        struct qd_frame *frame, *passed;
        int inputs[2], y;

        inputs[0] = start_features(20);
        inputs[1] = constant("w", (struct qd_shape){4, {20 * times, 1, 3, 3}}, 1);
        y = node("Conv", "y", inputs, 2, attrs, 2);
        end(y);
        frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
        /* The passes change the Conv, which the plan points to, but the frame has run. */
        ck_assert_ok(qd_passes_run(graph, &err), &err);
        ck_assert_int_eq(graph->n_nodes, 3);
        passed = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &passed_plan);
        for (int64_t i = 0; i < qd_shape_count(&graph->values[y].shape); i++)
            ck_assert_float_eq_tol(qd_frame_output(frame, 0, 0)[i], qd_frame_output(passed, 0, 0)[i], 1e-3f);
        qd_frame_free(frame);
        qd_plan_free(plan);
        qd_frame_free(passed);
        qd_plan_free(passed_plan);
        check_q8(5);
    }
}
END_TEST

START_TEST(test_conv_activations)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(activations); i++)
        check_conv(8, 16, 3, 1, ones, ones, same, qd_activation_name(&activations[i]));
    check_conv(8, 8, 3, 8, ones, ones, same, "hardswish");
    check_conv(8, 8, 3, 8, ones, ones, same, "silu");
}
END_TEST

START_TEST(test_residual)
{
    struct qd_node *conv;
    int inputs[2], y;

    inputs[0] = start_features(8);
    inputs[1] = constant("w", (struct qd_shape){4, {8, 8, 1, 1}}, 1);
    y = node("Conv", "y", inputs, 2, NULL, 0);
    conv = &graph->nodes[graph->n_nodes - 1];
    ck_assert_ok(qd_graph_set_input(graph, conv, 3, inputs[0], &err), &err);
    conv->residual = 3;
    end(y);
    check_q8(4);
}
END_TEST

START_TEST(test_pools)
{
    const int64_t three[] = {3, 3};
    struct qd_attr attrs[4] = {ints("kernel_shape", 2, three), ints("strides", 2, twos), ints("pads", 4, same),
                               one("ceil_mode", 1)};
    int x = start_features(10), y = node("MaxPool", "y", &x, 1, attrs, 4);

    end(y);
    check_q8(1);
    x = start_features(10);
    y = node("AveragePool", "y", &x, 1, attrs, 3);
    end(y);
    check_q8(2);
    x = start_features(10);
    y = node1("GlobalAveragePool", "y", x);
    end(y);
    check_q8(2);
}
END_TEST

START_TEST(test_elementwise)
{
    int inputs[2], y;

    inputs[0] = start_features(10);
    inputs[1] = node1("Sigmoid", "s", inputs[0]);
    y = node("Add", "y", inputs, 2, NULL, 0);
    end(y);
    check_q8(2);
    inputs[0] = start_features(10);
    inputs[1] = node1("Sigmoid", "s", inputs[0]);
    y = node("Mul", "y", inputs, 2, NULL, 0);
    end(y);
    check_q8(3);
    inputs[0] = start_features(10);
    inputs[1] = node1("GlobalAveragePool", "gate", inputs[0]);
    y = node("Mul", "y", inputs, 2, NULL, 0);
    end(y);
    check_q8(3);
}
END_TEST

/* A constant per channel, or one for all: a line, and a clip that is fused into it. */
START_TEST(test_lines)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "Div"};

    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++) {
        for (int one_for_all = 0; one_for_all < 2; one_for_all++) {
            int inputs[2], y;
            float *data;

            inputs[0] = start_features(70);
            inputs[1] = constant("k", one_for_all ? (struct qd_shape){0} : shape4(70, 1, 1), 3);
            data = (float *)(uintptr_t)graph->values[inputs[1]].data;
            for (int64_t j = 0; j < qd_shape_count(&graph->values[inputs[1]].shape); j++)
                data[j] += 2; /* nothing near 0, which Div would make large */
            y = node(names[i], "y", inputs, 2, NULL, 0);
            if (one_for_all)
                graph->nodes[graph->n_nodes - 1].act = activations[0];
            end(y);
            check_q8(one_for_all ? 6 : 3); /* a clip leaves finer steps than the input's */
        }
    }
}
END_TEST

START_TEST(test_batch_normalization)
{
    static const char *const names[] = {"gamma", "beta", "mean", "var"};
    struct qd_attr attr = {.name = "epsilon", .kind = QD_ATTR_FLOAT, .f = 0.6f};
    int inputs[5];

    inputs[0] = start_features(70);
    for (int i = 0; i < 4; i++)
        inputs[1 + i] = constant(names[i], (struct qd_shape){1, {70}}, 1);
    end(node("BatchNormalization", "y", inputs, 5, &attr, 1));
    graph->nodes[graph->n_nodes - 1].act = activations[0];
    check_q8(2);
}
END_TEST

START_TEST(test_unary)
{
    static const char *const names[] = {"Relu", "LeakyRelu", "HardSigmoid", "HardSwish", "Sigmoid",    "Tanh",
                                        "Erf",  "Softplus",  "Gelu",        "Mish",      "quantd.Silu"};

    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++) {
        int x = start_features(6), y = node1(names[i], "y", x);

        end(y);
        check_q8(3);
    }
}
END_TEST

START_TEST(test_movement)
{
    const int64_t perm[] = {0, 2, 3, 1}, starts[] = {1, 0}, ends[] = {8, 9}, axes[] = {2, 3}, steps[] = {2, 3};
    const int64_t pads[] = {0, 0, 1, 2, 0, 0, 2, 1};
    struct qd_attr attr;
    int inputs[5], y;

    inputs[0] = start_features(6);
    attr = ints("perm", 4, perm);
    y = node("Transpose", "y", inputs, 1, &attr, 1);
    end(y);
    check_q8(1);
    inputs[0] = start_features(6);
    inputs[1] = integers("starts", 2, starts);
    inputs[2] = integers("ends", 2, ends);
    inputs[3] = integers("axes", 2, axes);
    inputs[4] = integers("steps", 2, steps);
    y = node("Slice", "y", inputs, 5, NULL, 0);
    end(y);
    check_q8(1);
    inputs[0] = start_features(6);
    inputs[1] = integers("pads", 8, pads);
    y = node("Pad", "y", inputs, 2, NULL, 0);
    end(y);
    check_q8(1);
    inputs[0] = start_features(6);
    inputs[1] = node1("Identity", "same", inputs[0]);
    attr = one("axis", 1);
    y = node("Concat", "y", inputs, 2, &attr, 1);
    end(y);
    check_q8(1);
}
END_TEST

/* Channel i of group j becomes channel i * groups + j: features that name their channel. */
START_TEST(test_channel_shuffle)
{
    static const int groups[] = {2, 3};

    for (size_t i = 0; i < QD_ARRAY_SIZE(groups); i++) {
        struct qd_channel_shuffle_params params = {groups[i]};
        struct qd_plan *plan;
        struct qd_frame *frame;
        const float *in, *out;
        int x = start_features(36), y = node1("quantd.ChannelShuffle", "y", x), plane = 8 * 9, size = 36 / groups[i];

        graph->nodes[graph->n_nodes - 1].params = &params;
        end(y);
        frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
        in = qd_frame_value_f32(frame, x, 0);
        out = qd_frame_value_f32(frame, y, 0);
        for (int c = 0; c < 36; c++)
            ck_assert_mem_eq(out + (c % size * groups[i] + c / size) * plane, in + c * plane,
                             (size_t)plane * sizeof(float));
        qd_frame_free(frame);
        qd_plan_free(plan);
        check_q8(1);
    }
}
END_TEST

/* NHWC bytes must come out in ONNX's order for the matrix behind a Flatten of [1,c,h,w]. */
START_TEST(test_flatten_gemm)
{
    struct qd_attr attr = one("transB", 1);
    int inputs[3], x = start_features(4), y;

    inputs[0] = node1("Flatten", "flat", x);
    inputs[1] = constant("w", (struct qd_shape){2, {11, 288}}, 1);
    inputs[2] = constant("b", (struct qd_shape){1, {11}}, 1);
    y = node("Gemm", "y", inputs, 3, &attr, 1);
    end(y);
    check_q8(5);
    /* A Gemm over the picture itself, as the pass leaves it. */
    x = start_features(4);
    inputs[0] = node1("Flatten", "flat", x);
    inputs[1] = constant("w", (struct qd_shape){2, {288, 11}}, 1);
    y = node("Gemm", "y", inputs, 2, NULL, 0);
    end(y);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
    ck_assert_int_eq(graph->n_nodes, 2);
    ck_assert_int_eq(graph->nodes[1].inputs[0], x);
    check_q8(5);
}
END_TEST

/* 3x3 of ones over 1..9 with padding 1: sums of neighbours, by hand. */
START_TEST(test_conv_by_hand)
{
    static const float want[] = {12, 21, 16, 27, 45, 33, 24, 39, 28};
    struct qd_attr attr = ints("pads", 4, same);
    struct qd_plan_options options = {
        .precision = QD_PRECISION_F32, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR), .keep_all = true};
    struct qd_shape shape = {4, {1, 1, 3, 3}};
    struct qd_frame *frame;
    struct qd_plan *plan;
    int inputs[2], y;
    void *data;

    begin(shape);
    inputs[0] = graph->inputs[0];
    ck_assert_ok(qd_graph_add_constant(graph, "w", QD_F32, &shape, NULL, &inputs[1], &data, &err), &err);
    for (int i = 0; i < 9; i++)
        ((float *)data)[i] = 1;
    y = node("Conv", "y", inputs, 2, &attr, 1);
    end(y);
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, 1, &frame, &err), &err);
    for (int i = 0; i < 9; i++)
        qd_frame_input(frame, 0)[i] = (uint8_t)(i + 1);
    qd_frame_run(frame, 1, 1);
    for (int i = 0; i < 9; i++)
        ck_assert_float_eq(qd_frame_output(frame, 0, 0)[i], want[i]);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

/* To rank 0: one element is copied, and what follows reads it. */
START_TEST(test_scalar)
{
    int in[2];

    begin(shape4(3, 4, 4));
    in[0] = graph->inputs[0];
    in[1] = constant("w", (struct qd_shape){.n_dims = 4, .dims = {1, 3, 4, 4}}, 0.02f);
    end(node1("Sigmoid", "y", node1("Squeeze", "s", node("Conv", "c", in, 2, NULL, 0))));
    check_q8(2);
}
END_TEST

/* A few hundred bytes of model must not ask for gigabytes of padding: the convolution runs in float. */
START_TEST(test_padding_bound)
{
    int64_t pads[] = {8000, 8000, 8000, 8000}, strides[] = {8000, 8000};
    struct qd_attr attrs[] = {ints("pads", 4, pads), ints("strides", 2, strides)};
    struct qd_plan *f32_plan, *plan;
    struct qd_frame *f32, *frame;
    int in[2], n_refused = 0;

    begin(shape4(3, 1, 1));
    in[0] = graph->inputs[0];
    in[1] = constant("w0", (struct qd_shape){.n_dims = 4, .dims = {16, 3, 1, 1}}, 0.02f);
    in[0] = node("Conv", "c0", in, 2, NULL, 0);
    in[1] = constant("w1", (struct qd_shape){.n_dims = 4, .dims = {16, 16, 1, 1}}, 1);
    end(node("Conv", "c1", in, 2, attrs, 2));
    f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &f32_plan);
    scales_from(f32, 2);
    frame = run_plan(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        struct qd_step_info info;

        qd_plan_step(plan, s, &info);
        n_refused += info.why_f32 && strstr(info.why_f32, "padding would take too much memory");
    }
    ck_assert_int_eq(n_refused, 1);
    ck_assert_int_lt((int)qd_plan_frame_bytes(plan, 1), 1 << 16);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_frame_free(f32);
    qd_plan_free(f32_plan);
    qd_graph_free(graph);
}
END_TEST

/* Several outputs that need conversions: none lies where another's still is. */
START_TEST(test_outputs)
{
    enum { N_OUTPUTS = 4 };
    static const char *const names[] = {"y0", "y1", "y2", "y3", "c0", "c1", "c2", "c3", "w0", "w1", "w2", "w3"};
    int64_t kernel[] = {3, 3}, pads[] = {1, 1, 1, 1};
    struct qd_attr attrs[] = {ints("kernel_shape", 2, kernel), ints("pads", 4, pads)};
    struct qd_plan_options options = {
        .precision = QD_PRECISION_Q8, .max_batch = 2, .kernels = qd_kernels_of(QD_ISA_SCALAR)};
    struct qd_plan *f32_plan, *kept_plan, *plan;
    struct qd_frame *f32, *kept, *frame;
    int outputs[N_OUTPUTS], in[2];

    begin(shape4(3, 8, 9));
    in[0] = graph->inputs[0];
    for (int i = 0; i < N_OUTPUTS; i++) {
        in[1] = constant(names[2 * N_OUTPUTS + i], (struct qd_shape){.n_dims = 4, .dims = {16, i ? 16 : 3, 1, 1}},
                         i ? 1.0f : 0.02f);
        in[0] = node("Conv", names[N_OUTPUTS + i], in, 2, NULL, 0);
        outputs[i] = node("MaxPool", names[i], in, 1, attrs, 2);
    }
    qd_free(graph->outputs);
    graph->outputs = qd_alloc_array(N_OUTPUTS, sizeof(int));
    end(outputs[0]);
    memcpy(graph->outputs, outputs, sizeof(outputs));
    graph->n_outputs = N_OUTPUTS;
    f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &f32_plan);
    scales_from(f32, 2);
    kept = run_plan(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), 1, &kept_plan);
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, 1, &frame, &err), &err);
    for (int image = 0; image < 2; image++)
        for (int j = 0; j < 3 * 8 * 9; j++)
            qd_frame_input(frame, image)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + image * 5);
    qd_frame_run(frame, 2, 1);
    for (int i = 0; i < N_OUTPUTS; i++)
        for (int image = 0; image < 2; image++)
            ck_assert_mem_eq(qd_frame_output(frame, i, image), qd_frame_output(kept, i, image),
                             (size_t)qd_plan_output_count(plan, i) * sizeof(float));
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_frame_free(kept);
    qd_plan_free(kept_plan);
    qd_frame_free(f32);
    qd_plan_free(f32_plan);
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_MAIN("op", test_padding_bound, test_scalar, test_outputs, test_conv, test_conv_depthwise, test_conv_multiplier,
             test_conv_activations, test_residual, test_pools, test_elementwise, test_lines, test_batch_normalization,
             test_unary, test_movement, test_channel_shuffle, test_flatten_gemm, test_conv_by_hand)
