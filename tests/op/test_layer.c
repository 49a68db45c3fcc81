/*
 * What a calibration sets on layers and values: a step per channel, rounded weights, biases, narrow multipliers. The
 * int8 form against the float one within a stated number of steps, for every tier (all with the same bytes).
 */
#include <string.h>

#include "export/integer.h"
#include "op/conv_q8.h"
#include "op/piecewise.h"
#include "op/q8.h"
#include "tests/unit/build_graph.h"

#define C 40
#define N 10
#define MAX_COUNT (1 << 14)

static const struct qd_activation activations[] = {
    {.kind = QD_ACT_CLIP, .min = 0, .max = 6},
    {.kind = QD_ACT_CLIP, .min = 0, .max = INFINITY},
    {.kind = QD_ACT_LEAKY, .alpha = 0.1f},
    {.kind = QD_ACT_HARDSWISH},
    {.kind = QD_ACT_NONE},
    {.kind = QD_ACT_SILU},
    {.kind = QD_ACT_GELU},
    {.kind = QD_ACT_MISH},
};

static struct qd_frame *run_plan(enum qd_precision precision, const struct qd_kernels *kernels,
                                 struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {.precision = precision, .max_batch = 2, .kernels = kernels, .keep_all = true};
    struct qd_frame *frame;
    int h, w, c;

    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, 2, &frame, &err), &err);
    qd_plan_input_size(*ret_plan, &h, &w, &c);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < h * w * c; j++)
            qd_frame_input(frame, i)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + i * 5);
    qd_frame_run(frame, 2, 2);
    return frame;
}

/* A convolution, whose channels differ in size by up to 64, a depthwise one that makes up for it, and a dense one. */
static void build(const struct qd_activation *act, bool gemm)
{
    static const int64_t pads[] = {1, 1, 1, 1};
    struct qd_attr attrs[] = {ints("pads", 4, pads), one("group", C)}, transposed = one("transB", 1);
    int in[3];

    begin(shape4(3, 8, 9));
    in[0] = graph->inputs[0];
    in[1] = constant("w0", (struct qd_shape){4, {C, 3, 1, 1}}, 0.05f);
    for (int i = 0; i < 3 * C; i++)
        ((float *)(uintptr_t)graph->values[in[1]].data)[i] /= (float)(1 << i / 3 % 7);
    in[0] = node("Conv", "features", in, 2, NULL, 0);
    graph->nodes[0].act = *act;
    in[1] = constant("w1", (struct qd_shape){4, {C, 1, 3, 3}}, 0.5f);
    for (int i = 0; i < 9 * C; i++)
        ((float *)(uintptr_t)graph->values[in[1]].data)[i] *= (float)(1 << i / 9 % 7);
    in[2] = constant("b1", (struct qd_shape){1, {C}}, 1);
    in[0] = node("Conv", "depthwise", in, 3, attrs, 2);
    graph->nodes[1].act = *act;
    if (gemm) {
        in[0] = node1("Flatten", "flat", node1("GlobalAveragePool", "mean", node1("Relu", "relu", in[0])));
        in[1] = constant("w2", (struct qd_shape){2, {N, C}}, 1);
        in[2] = constant("b2", (struct qd_shape){1, {N}}, 1);
        end(node("Gemm", "y", in, 3, &transposed, 1));
    } else {
        in[1] = constant("w2", (struct qd_shape){4, {N, C, 1, 1}}, 1);
        end(node("Conv", "y", in, 2, NULL, 0));
    }
}

/*
 * Steps for the value's channels from a float run: each uses the bytes on its longer side of the zero point, but is no
 * finer than the activation's curve can be.
 */
static void set_steps(const struct qd_frame *f32, int value, float steps[C])
{
    struct qd_value *v = &graph->values[value];
    int64_t pixels = qd_shape_count(&v->shape) / C;
    float above = (float)(255 - v->q.zero_point), below = fmaxf((float)v->q.zero_point, 0.5f);
    float finest = (float)qd_piecewise_finest(graph->nodes[v->producer].act.kind);

    for (int c = 0; c < C; c++) {
        steps[c] = fmaxf(1e-3f, finest / v->q.scale);
        for (int64_t p = 0; p < 2 * pixels; p++) {
            float x = qd_frame_value_f32(f32, value, p < pixels ? 0 : 1)[c * pixels + p % pixels];

            steps[c] = fmaxf(steps[c], fmaxf(x / above, -x / below) / v->q.scale);
        }
    }
    v->channel_steps = steps;
}

static int value_of(const char *name)
{
    return qd_graph_find_value(graph, name);
}

static const char *why_f32(const struct qd_plan *plan, const char *name)
{
    struct qd_step_info info = {0};

    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        qd_plan_step(plan, s, &info);
        if (info.node && strcmp(info.name, name) == 0)
            return info.kind == QD_STEP_Q8 ? "" : info.why_f32;
    }
    return "no such node";
}

/* Every tier's bytes are the same, and near the float run's; returns the mean squared error over the mean square. */
static double check_tiers(const struct qd_frame *f32, double limit)
{
    int y = graph->outputs[0];
    int64_t count = qd_shape_count(&graph->values[y].shape);
    float first[MAX_COUNT];
    double error = 0, signal = 0;

    ck_assert_int_le(count, MAX_COUNT);
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        const struct qd_kernels *kernels = qd_kernels_of((enum qd_isa)isa);
        struct qd_plan *plan;
        struct qd_frame *q8;

        if (!kernels)
            continue;
        q8 = run_plan(QD_PRECISION_Q8, kernels, &plan);
        if (isa == 0)
            memcpy(first, qd_frame_output(q8, 0, 1), (size_t)count * sizeof(float));
        ck_assert_mem_eq(first, qd_frame_output(q8, 0, 1), (size_t)count * sizeof(float));
        qd_frame_free(q8);
        qd_plan_free(plan);
    }
    for (int64_t i = 0; i < count; i++) {
        double want = (double)qd_frame_output(f32, 0, 1)[i];

        error += (first[i] - want) * (first[i] - want);
        signal += want * want;
        ck_assert_double_le(fabs((double)first[i] - want), limit * (double)graph->values[y].q.scale + 1e-6);
    }
    return error / signal;
}

START_TEST(test_channel_steps)
{
    float features[C], depthwise[C];

    for (size_t i = 0; i < QD_ARRAY_SIZE(activations); i++) {
        struct qd_plan *f32_plan, *plan;
        struct qd_frame *f32, *q8;
        double without;

        build(&activations[i], false);
        f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), &f32_plan);
        scales_from(f32, 2);
        without = check_tiers(f32, 60);
        set_steps(f32, value_of("features"), features);
        set_steps(f32, value_of("depthwise"), depthwise);
        ck_assert_double_lt(check_tiers(f32, qd_piecewise_fits(activations[i].kind) ? 8 : 4), without / 2);
        q8 = run_plan(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), &plan);
        ck_assert_str_eq(why_f32(plan, "features"), "");
        ck_assert_str_eq(why_f32(plan, "depthwise"), "");
        ck_assert_str_eq(why_f32(plan, "y"), "");
        if (qd_piecewise_fits(activations[i].kind)) {
            struct qd_integer_model *model;

            ck_assert_int_eq(qd_integer_model_new(plan, &model, &err), QD_UNSUPPORTED);
            ck_assert_ptr_nonnull(strstr(err.text, "with a step per channel has no integer form"));
            err.text[0] = 0;
        }
        qd_frame_free(q8);
        qd_plan_free(plan);
        qd_frame_free(f32);
        qd_plan_free(f32_plan);
        qd_graph_free(graph);
    }
}
END_TEST

/* What has no form with a step per channel runs in float. */
START_TEST(test_channel_steps_refused)
{
    static const struct qd_activation silu = {.kind = QD_ACT_SILU}, relu6 = {QD_ACT_CLIP, 0, 6, 0, 0};
    struct qd_plan *f32_plan, *plan;
    struct qd_frame *f32, *q8;
    float steps[C], depthwise[C];

    for (int turn = 0; turn < 3; turn++) {
        build(turn == 1 ? &silu : &relu6, turn == 0);
        f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), &f32_plan);
        scales_from(f32, 2);
        set_steps(f32, value_of("features"), steps);
        set_steps(f32, value_of("depthwise"), depthwise);
        if (turn == 1) /* finer than a curve can be */
            steps[0] = 1e-3f * (float)qd_piecewise_finest(QD_ACT_SILU) / graph->values[value_of("features")].q.scale;
        if (turn == 2) /* its last bytes lie a step past 6 */
            steps[0] = 257.0f / 255 * 6 / 255 / graph->values[value_of("features")].q.scale;
        check_tiers(f32, turn == 1 ? 1e3 : 4); /* the channel is clipped to nothing */
        q8 = run_plan(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), &plan);
        if (turn == 0)
            ck_assert_str_eq(why_f32(plan, "relu"), "an input has a step per channel");
        else
            ck_assert_str_eq(why_f32(plan, "features"), "scales out of range");
        qd_frame_free(q8);
        qd_plan_free(plan);
        qd_frame_free(f32);
        qd_plan_free(f32_plan);
        qd_graph_free(graph);
    }
}
END_TEST

/* Floats of a value with channel steps, both ways: the depthwise node reads them, and its own become bytes. */
START_TEST(test_channel_steps_f32)
{
    struct qd_plan *f32_plan, *plan;
    struct qd_frame *f32, *q8;
    float features[C], depthwise[C];
    uint8_t bytes[C * 72];

    build(&activations[3], false);
    f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), &f32_plan);
    scales_from(f32, 2);
    set_steps(f32, value_of("features"), features);
    set_steps(f32, value_of("depthwise"), depthwise);
    graph->nodes[1].precision = QD_PRECISION_F32;
    check_tiers(f32, 4);
    q8 = run_plan(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), &plan);
    ck_assert_str_eq(why_f32(plan, "depthwise"), "asked for");
    for (int i = 0; i < 2; i++) {
        int value = value_of(i ? "depthwise" : "features");
        struct qd_qparams q = graph->values[value].q;

        ck_assert(qd_frame_copy_q8(q8, value, 1, bytes));
        for (int j = 0; j < C * 72; j++) {
            double step = (double)q.scale * (double)(i ? depthwise : features)[j / 72];
            double found = (double)qd_frame_value_f32(q8, value, 1)[j];
            double real = (bytes[j % 72 * C + j / 72] - q.zero_point) * step;

            /* The depthwise node's floats, made of bytes, may pass the range that they have in the float run. */
            if (i == 0 || (bytes[j % 72 * C + j / 72] > 0 && bytes[j % 72 * C + j / 72] < 255))
                ck_assert_double_le(fabs(found - real), (i ? 0.5001 : 1e-4) * step);
        }
    }
    qd_frame_free(q8);
    qd_plan_free(plan);
    qd_frame_free(f32);
    qd_plan_free(f32_plan);
    qd_graph_free(graph);
}
END_TEST

/* The layer of a node, and its weights rounded to so many bits as a calibration would hand them over. */
static void round_layer(const struct qd_node *of, int bits, int8_t *q, float *scale, struct qd_layer_weights *ret)
{
    struct qd_arena arena = {0};
    struct qd_layer layer;

    ck_assert_ok(of->op->layer(graph, of, &arena, &layer, &err), &err);
    qd_weights_quantize(layer.weights, layer.n,
                        layer.c / layer.group * (int)(layer.window.kernel[0] * layer.window.kernel[1]), bits, q, scale);
    *ret = (struct qd_layer_weights){bits, q, scale, NULL};
    qd_arena_done(&arena);
}

/* The output of an int8 run, image 1, as it is with the graph now. */
static void output_now(float ret[N])
{
    struct qd_plan *plan;
    struct qd_frame *frame = run_plan(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), &plan);

    memcpy(ret, qd_frame_output(frame, 0, 1), N * sizeof(float));
    qd_frame_free(frame);
    qd_plan_free(plan);
}

/* Weights that are handed over rounded give what the plan's own rounding gives; a bias of one's own counts. */
START_TEST(test_layer_weights)
{
    struct qd_layer_weights nearest = {.bits = 6}, found[3];
    int8_t q[3][C * N];
    float scale[3][C], bias[N] = {0}, want[N], output[N];
    struct qd_plan *plan;
    struct qd_frame *f32;
    int n_layers = 0;

    build(&activations[2], true);
    f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), &plan);
    scales_from(f32, 2);
    qd_frame_free(f32);
    qd_plan_free(plan);
    output_now(output);
    for (int n = 0; n < graph->n_nodes; n++)
        graph->nodes[n].layer_weights = &nearest;
    output_now(want);
    ck_assert_mem_ne(want, output, sizeof(output));
    for (int n = 0; n < graph->n_nodes; n++) {
        struct qd_node *of = &graph->nodes[n];

        if (!of->op->layer)
            continue;
        ck_assert_int_lt(n_layers, 3);
        round_layer(of, 6, q[n_layers], scale[n_layers], &found[n_layers]);
        of->layer_weights = &found[n_layers++];
    }
    ck_assert_int_eq(n_layers, 3);
    output_now(output);
    ck_assert_mem_eq(want, output, sizeof(output));
    for (int i = 0; i < C * N; i++)
        ck_assert(q[2][i] >= -31 && q[2][i] <= 31);
    found[2].bias = bias;
    output_now(output);
    for (int i = 0; i < N; i++)
        ck_assert_float_eq_tol(output[i] + ((const float *)graph->values[value_of("b2")].data)[i], want[i], 1e-5f);
    qd_graph_free(graph);
}
END_TEST

START_TEST(test_multiplier)
{
    struct qd_graph g = {.multiplier_bits = 1};

    ck_assert_float_eq(qd_q8_multiplier(&g, 0.7), 0.5f);
    ck_assert_float_eq(qd_q8_multiplier(&g, 0.76), 1);
    ck_assert_float_eq(qd_q8_multiplier(&g, -3.1), -4);
    ck_assert_float_eq(qd_q8_multiplier(&g, 0), 0);
    g.multiplier_bits = 4;
    ck_assert_float_eq(qd_q8_multiplier(&g, 1.0 / 3), 11.0f / 32);
    g.multiplier_bits = 24;
    ck_assert_float_eq(qd_q8_multiplier(&g, 1.0 / 3), (float)(1.0 / 3));
    g.multiplier_bits = 0;
    ck_assert_float_eq(qd_q8_multiplier(&g, 1.0 / 3), (float)(1.0 / 3));
}
END_TEST

/* Few bits cost little; a shift alone is far off, but the same in all tiers. */
START_TEST(test_multiplier_bits)
{
    static const struct {
        int bits;
        double limit;
    } rows[] = {{15, 4}, {8, 8}, {4, 40}, {1, 250}};
    struct qd_plan *plan;
    struct qd_frame *f32;
    float features[C], depthwise[C];

    for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++) {
        build(&activations[3], false);
        f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), &plan);
        scales_from(f32, 2);
        set_steps(f32, value_of("features"), features);
        set_steps(f32, value_of("depthwise"), depthwise);
        graph->multiplier_bits = rows[i].bits;
        check_tiers(f32, rows[i].limit);
        qd_frame_free(f32);
        qd_plan_free(plan);
        qd_graph_free(graph);
    }
}
END_TEST

QD_UNIT_MAIN("layer", test_channel_steps, test_channel_steps_refused, test_channel_steps_f32, test_layer_weights,
             test_multiplier, test_multiplier_bits)
