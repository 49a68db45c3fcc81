/*
 * Networks in integers alone against the int8 kernels, step by step on the same bytes: off by one here and there, where
 * the kernels' floats round another way. Every kind of step and activation, wide and narrow multipliers.
 */
#include <stdio.h>
#include <string.h>

#include "export/integer.h"
#include "op/q8.h"
#include "pass/pass.h"
#include "tests/unit/build_graph.h"

static const int64_t none[] = {0, 0, 0, 0}, same[] = {1, 1, 1, 1}, uneven[] = {0, 1, 1, 2};

static int conv_of(const char *name, int x, int64_t n, int64_t kernel, const int64_t *pads, int64_t group)
{
    struct qd_attr attrs[] = {ints("pads", 4, pads), one("group", group)};
    int64_t k = graph->values[x].shape.dims[1] / group * kernel * kernel;
    char text[32];
    int inputs[3] = {x};

    snprintf(text, sizeof(text), "%s.w", name);
    inputs[1] = constant(text, (struct qd_shape){4, {n, k / kernel / kernel, kernel, kernel}}, 4 / sqrtf((float)k));
    snprintf(text, sizeof(text), "%s.b", name);
    inputs[2] = constant(text, (struct qd_shape){1, {n}}, 1);
    return node("Conv", name, inputs, 3, attrs, 2);
}

/* Real values around 0, which pixels are not. */
static int features(int64_t c)
{
    begin(shape4(3, 8, 9));
    return node(
        "Mul", "features",
        (int[]){conv_of("c", graph->inputs[0], c, 3, same, 1), constant("hundredth", (struct qd_shape){0}, 0.05f)}, 2,
        NULL, 0);
}

static int activated(const char *name, int x, struct qd_activation act)
{
    int y = conv_of(name, x, 6, 3, uneven, 1);

    graph->nodes[graph->n_nodes - 1].act = act;
    return y;
}

static int classifier(int x)
{
    int inputs[2] = {node1("Flatten", "flat", node1("GlobalAveragePool", "mean", x))};

    inputs[1] = constant("classes", (struct qd_shape){2, {graph->values[x].shape.dims[1], 5}}, 1);
    return node("Gemm", "y", inputs, 2, NULL, 0);
}

static void build_activations(void)
{
    static const struct qd_activation acts[] = {
        {.kind = QD_ACT_CLIP, .min = -0.25f, .max = 0.5f},
        {.kind = QD_ACT_LEAKY, .alpha = 0.1f},
        {.kind = QD_ACT_HARDSWISH},
        {.kind = QD_ACT_HARDSIGMOID, .alpha = 0.2f, .beta = 0.5f},
        {.kind = QD_ACT_SIGMOID},
        {.kind = QD_ACT_TANH},
        {.kind = QD_ACT_SILU},
        {.kind = QD_ACT_GELU},
        {.kind = QD_ACT_MISH},
    };
    int x = features(6), parts[QD_ARRAY_SIZE(acts)];
    struct qd_attr axis = one("axis", 1);

    for (size_t i = 0; i < QD_ARRAY_SIZE(acts); i++) {
        char name[16];

        snprintf(name, sizeof(name), "act%zu", i);
        parts[i] = activated(name, x, acts[i]);
    }
    end(classifier(node("Concat", "all", parts, QD_ARRAY_SIZE(acts), &axis, 1)));
}

static void build_residual(void)
{
    static const struct qd_activation relu = {.kind = QD_ACT_CLIP, .min = 0, .max = INFINITY};
    int x = features(6), y = conv_of("depthwise", x, 6, 3, same, 6);
    struct qd_node *last = &graph->nodes[graph->n_nodes - 1];

    ck_assert_ok(qd_graph_set_input(graph, last, 3, x, &err), &err);
    last->residual = 3;
    last->act = relu;
    end(classifier(conv_of("grouped", y, 8, 1, none, 2)));
}

static void build_elementwise(void)
{
    int x = features(6), a = conv_of("a", x, 6, 1, none, 1), gate, sum;
    const struct qd_shape row = {4, {1, 6, 1, 1}};

    sum = node("Add", "sum", (int[]){x, a}, 2, NULL, 0);
    gate = node1("HardSwish", "gate", node1("GlobalAveragePool", "squeeze", sum));
    sum = node("Mul", "product", (int[]){sum, a}, 2, NULL, 0);
    sum = node("Mul", "gated", (int[]){gate, sum}, 2, NULL, 0);
    sum = node("Sub", "less", (int[]){sum, constant("row", row, 1)}, 2, NULL, 0);
    sum = node("Mul", "more", (int[]){node1("Relu", "relu", sum), constant("factor", row, 1)}, 2, NULL, 0);
    end(classifier(node1("Sigmoid", "sigmoid", sum)));
}

/* One number on either side of a function: tables, and a clip behind one. */
static void build_scalars(void)
{
    static const struct qd_activation clip = {.kind = QD_ACT_CLIP, .min = -0.5f, .max = 0.25f};
    int x = features(6), a = conv_of("a", x, 6, 1, none, 1), y;

    y = node1("Sigmoid", "sigmoid", node("Sub", "difference", (int[]){x, a}, 2, NULL, 0));
    y = node("Sub", "rest", (int[]){constant("one", (struct qd_shape){0}, 1), y}, 2, NULL, 0);
    graph->nodes[graph->n_nodes - 1].act = clip;
    y = node("PRelu", "prelu", (int[]){y, constant("slope", (struct qd_shape){4, {1, 1, 1, 1}}, 1)}, 2, NULL, 0);
    end(classifier(node1("Abs", "abs", y)));
}

static void build_moves(void)
{
    const int64_t pads[] = {0, 2, 1, 0, 0, 1, 0, 3}, from[] = {1, 2}, to[] = {7, 6}, axes[] = {1, 2},
                  perm[] = {0, 1, 3, 2};
    const int64_t three[] = {3, 3}, two[] = {2, 2};
    struct qd_attr max[] = {ints("kernel_shape", 2, three), ints("pads", 4, same)};
    struct qd_attr average[] = {ints("kernel_shape", 2, three), ints("pads", 4, same), ints("strides", 2, two)};
    struct qd_attr counting[] = {ints("kernel_shape", 2, three), ints("pads", 4, same), one("count_include_pad", 1)};
    struct qd_attr transpose = ints("perm", 4, perm);
    int x = features(6), inputs[4];

    x = node("Pad", "pad", (int[]){x, integers("pads", 8, pads)}, 2, NULL, 0);
    inputs[0] = x;
    inputs[1] = integers("from", 2, from);
    inputs[2] = integers("to", 2, to);
    inputs[3] = integers("axes", 2, axes);
    x = node("Slice", "slice", inputs, 4, NULL, 0);
    x = node("Transpose", "transpose", &x, 1, &transpose, 1);
    x = node("MaxPool", "max", &x, 1, max, 2);
    x = node("AveragePool", "average", &x, 1, average, 3);
    end(classifier(node("AveragePool", "counting", &x, 1, counting, 3)));
}

/* Linear layers over the last dimension, with a curve, a residual and Transposes that move no byte. */
static void build_rows(void)
{
    static const int64_t to_rows[] = {0, 2, 3, 1}, back[] = {0, 3, 1, 2};
    struct qd_attr perm[] = {ints("perm", 4, to_rows), ints("perm", 4, back)};
    const struct qd_shape wide = {2, {6, 12}}, narrow = {2, {12, 6}}, row = {1, {12}};
    int x = features(6), y = node("Transpose", "rows", &x, 1, &perm[0], 1);

    y = node("MatMul", "wide", (int[]){y, constant("w", wide, 1)}, 2, NULL, 0);
    y = node1("Gelu", "gelu", node("Add", "biased", (int[]){y, constant("b", row, 1)}, 2, NULL, 0));
    y = node("MatMul", "narrow", (int[]){y, constant("v", narrow, 1)}, 2, NULL, 0);
    y = node("Mul", "scaled", (int[]){y, constant("s", (struct qd_shape){0}, 1)}, 2, NULL, 0);
    y = node("Transpose", "picture", &y, 1, &perm[1], 1);
    end(classifier(node("Add", "sum", (int[]){y, x}, 2, NULL, 0)));
    ck_assert_ok(qd_passes_run(graph, &err), &err);
}

static const struct {
    const char *name;
    void (*build)(void);
} networks[] = {{"activations", build_activations}, {"residual", build_residual}, {"elementwise", build_elementwise},
                {"scalars", build_scalars},         {"moves", build_moves},       {"rows", build_rows}};

static const int multiplier_bits[] = {24, 15, 8, 4, 1};

static struct qd_frame *new_frame(enum qd_precision precision, struct qd_plan **ret)
{
    const struct qd_plan_options options = {
        .precision = precision, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR), .keep_all = true};
    struct qd_frame *frame;
    int h, w, c;

    ck_assert_ok(qd_plan_new(graph, &options, ret, &err), &err);
    ck_assert_ok(qd_frame_new(*ret, 1, &frame, &err), &err);
    qd_plan_input_size(*ret, &h, &w, &c);
    for (int i = 0; i < h * w * c; i++)
        qd_frame_input(frame, 0)[i] = (uint8_t)((random_float() + 0.5f) * 255);
    qd_frame_run(frame, 1, 1);
    return frame;
}

static void check_step(const char *name, const struct qd_frame *frame, const struct qd_integer_step *step,
                       void *const *values)
{
    size_t size = qd_integer_output_size(graph, step), n = 0;
    uint8_t *want;

    qd_integer_step_run(graph, step, values);
    if (step->accumulators)
        return;
    want = qd_alloc(size);
    ck_assert(qd_frame_copy_q8(frame, step->output, 0, want));
    for (size_t i = 0; i < size; i++) {
        int found = ((const uint8_t *)values[step->output])[i];

        ck_assert_msg(abs(found - want[i]) <= 1, "%s, %d bits, '%s', byte %zu: expected %d, found %d", name,
                      graph->multiplier_bits, step->node->name, i, want[i], found);
        n += found != want[i];
    }
    ck_assert_msg(n <= size / 12 + 1, "%s, %d bits, '%s': %zu of %zu bytes differ", name, graph->multiplier_bits,
                  step->node->name, n, size);
    memcpy(values[step->output], want, size);
    qd_free(want);
}

START_TEST(test_against_kernels)
{
    struct qd_plan *plan, *f32_plan;
    struct qd_frame *frame, *f32;
    struct qd_integer_model *model;
    void **values;
    struct qd_buf bin;
    json_t *json;

    networks[_i / 5].build();
    f32 = new_frame(QD_PRECISION_F32, &f32_plan);
    scales_from(f32, 1);
    graph->multiplier_bits = multiplier_bits[_i % 5];
    frame = new_frame(QD_PRECISION_Q8, &plan);
    ck_assert_ok(qd_integer_model_new(plan, &model, &err), &err);
    values = qd_alloc_array((size_t)graph->n_values, sizeof(void *));
    for (int v = 0; v < graph->n_values; v++)
        values[v] = qd_alloc((size_t)qd_shape_count(&graph->values[v].shape) * sizeof(int32_t));
    memcpy(values[graph->inputs[0]], qd_frame_input(frame, 0),
           (size_t)qd_shape_count(&graph->values[graph->inputs[0]].shape));
    for (int i = 0; i < model->n_steps; i++)
        check_step(networks[_i / 5].name, frame, &model->steps[i], values);
    ck_assert(model->steps[model->n_steps - 1].accumulators);
    qd_buf_init(&bin, (size_t)1 << 24);
    json = qd_integer_to_json(model, &bin);
    ck_assert_ptr_nonnull(json);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "steps")), (size_t)model->n_steps);
    json_decref(json);
    qd_buf_done(&bin);
    for (int v = 0; v < graph->n_values; v++)
        qd_free(values[v]);
    qd_free(values);
    qd_integer_model_free(model);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_frame_free(f32);
    qd_plan_free(f32_plan);
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_LOOP_MAIN("integer", test_against_kernels, 5 * QD_ARRAY_SIZE(networks))
