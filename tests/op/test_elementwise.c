/* Elementwise operators and sums of products: the int8 forms against the float ones, and what ONNX's tests leave out.
 */
#include "op/op.h"
#include "pass/pass.h"
#include "tests/op/check_q8.h"

static int scalar(const char *name, float value)
{
    struct qd_shape shape = {0};
    int index;

    ck_assert_ok(qd_graph_add_constant(graph, name, QD_F32, &shape, &value, &index, NULL, &err), &err);
    return index;
}

START_TEST(test_difference)
{
    int in[2];

    in[0] = start_features(10);
    in[1] = node1("Sigmoid", "s", in[0]);
    end(node("Sub", "y", in, 2, NULL, 0));
    check_q8(2);
    /* The other way round, and clipped. */
    in[1] = start_features(10);
    in[0] = node1("Sigmoid", "s", in[1]);
    end(node("Sub", "y", in, 2, NULL, 0));
    graph->nodes[graph->n_nodes - 1].act = (struct qd_activation){.kind = QD_ACT_CLIP, .min = -1, .max = 1};
    check_q8(6);
}
END_TEST

/* 1.5 .. 2.5, where no function is steep. */
static int lifted(int x)
{
    int in[2] = {node1("Sigmoid", "s", x), scalar("lift", 1.5f)};

    return node("Add", "lifted", in, 2, NULL, 0);
}

/* One number and an activation, on either side: a table, or a line. */
START_TEST(test_scalars)
{
    static const struct {
        const char *name;
        float value;
        bool first; /* the number is the first operand */
    } cases[] = {
        {"Sub", 1, true},        {"Div", 3, true},  {"Add", 1.5f, true}, {"Mul", -2, true},  {"Pow", 2, false},
        {"Pow", 0.5f, false},    {"Max", 2, false}, {"Max", 2, true},    {"Min", 2, false},  {"Min", 2, true},
        {"PRelu", -1.5f, false}, {"Mod", 1, false}, {"Sum", 2, true},    {"Mean", 2, false},
    };

    for (size_t i = 0; i < QD_ARRAY_SIZE(cases); i++) {
        bool is_mod = strcmp(cases[i].name, "Mod") == 0;
        struct qd_attr fmod = one("fmod", 1);
        int in[2], x = start_features(6);

        in[cases[i].first] = lifted(x);
        in[!cases[i].first] = scalar("k", cases[i].value);
        end(node(cases[i].name, "y", in, 2, is_mod ? &fmod : NULL, is_mod));
        /* A remainder jumps where its argument is rounded over a whole number: it is only as good as its input. */
        check_q8(is_mod ? 300 : 8);
    }
}
END_TEST

START_TEST(test_functions)
{
    static const struct {
        const char *name;
        double steps; /* those that jump are only as good as their input: the tiers are to agree */
    } cases[] = {
        {"Abs", 10},
        {"Neg", 10},
        {"Sign", 260},
        {"Floor", 260},
        {"Ceil", 260},
        {"Round", 260},
        {"Exp", 10},
        {"Softsign", 10},
        {"Elu", 10},
        {"Selu", 10},
        {"Celu", 10},
        {"Sin", 10},
        {"Cos", 10},
        {"Sinh", 10},
        {"Cosh", 10},
        {"Atan", 10},
        {"Asinh", 10},
        {"Erf", 10},
        {"Relu", 10},
        {"LeakyRelu", 10},
        {"Softplus", 10},
        {"Shrink", 260},
        {"ThresholdedRelu", 260},
    };

    for (size_t i = 0; i < QD_ARRAY_SIZE(cases); i++) {
        int x = start_features(6), tame = node1("Tanh", "tame", x);

        end(node1(cases[i].name, "y", tame));
        check_q8(cases[i].steps);
    }
}
END_TEST

/* Slopes per channel: within, above and below 0 .. 1. */
static void check_prelu(int64_t c, bool channel_steps)
{
    struct qd_activation act;
    float *steps = NULL;
    int in[2], y;

    in[0] = start_features(c);
    in[1] = constant("slope", (struct qd_shape){3, {c, 1, 1}}, 4);
    y = node("PRelu", "y", in, 2, NULL, 0);
    end(y);
    ck_assert(!graph->nodes[1].op->as_activation(graph, &graph->nodes[1], &act));
    ck_assert(graph->nodes[1].op->channel_steps(graph, &graph->nodes[1], 0));
    ck_assert(!graph->nodes[1].op->channel_steps(graph, &graph->nodes[1], 1));
    if (channel_steps) {
        steps = qd_arena_array(&graph->arena, (size_t)c, sizeof(float));
        for (int64_t i = 0; i < c; i++)
            steps[i] = i % 2 ? 1 : 0.999f;
        graph->values[in[0]].channel_steps = steps;
        graph->values[y].channel_steps = steps;
    }
    check_q8(3);
}

START_TEST(test_prelu)
{
    check_prelu(10, false);
    check_prelu(70, false);
    check_prelu(1, false);
    check_prelu(64, true);
}
END_TEST

/* What one number makes of a PRelu, a Max and a Min goes into the convolution in front. */
START_TEST(test_fused)
{
    static const char *const names[] = {"PRelu", "Max", "Min"};

    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++) {
        int in[2];

        in[0] = start_features(6);
        in[1] = scalar("k", 0.25f);
        end(node(names[i], "y", in, 2, NULL, 0));
        ck_assert_ok(qd_passes_run(graph, &err), &err);
        ck_assert_int_eq(graph->n_nodes, 1);
        ck_assert_int_eq(graph->nodes[0].act.kind, i ? QD_ACT_CLIP : QD_ACT_LEAKY);
        check_q8(3);
    }
}
END_TEST

/* Comparisons give bools and stay in float; Where chooses by them. */
START_TEST(test_where)
{
    struct qd_plan *plan;
    struct qd_frame *frame;
    const float *a, *b, *found;
    int in[3], x = start_features(3), y;

    in[0] = x;
    in[1] = node1("Sigmoid", "s", x);
    in[0] = node("Greater", "greater", in, 2, NULL, 0);
    in[2] = x;
    y = node("Where", "y", in, 3, NULL, 0);
    end(y);
    frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    a = qd_frame_value_f32(frame, in[1], 0);
    b = qd_frame_value_f32(frame, x, 0);
    found = qd_frame_value_f32(frame, y, 0);
    for (int64_t i = 0; i < qd_shape_count(&graph->values[y].shape); i++)
        ck_assert_float_eq(found[i], fminf(a[i], b[i]));
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

/* "nchw,kc->nkhw" is a product of matrices around which everything lies in another order. */
START_TEST(test_einsum_product)
{
    struct qd_attr equation = {.name = "equation", .kind = QD_ATTR_STRING, .s = "n c h w, kc -> nwkh"};
    struct qd_plan *plan;
    struct qd_frame *frame;
    const float *x, *w, *found;
    int in[2], y;

    in[0] = start_features(5);
    in[1] = constant("w", (struct qd_shape){2, {7, 5}}, 1);
    y = node("Einsum", "y", in, 2, &equation, 1);
    end(y);
    frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    x = qd_frame_value_f32(frame, in[0], 0);
    w = graph->values[in[1]].data;
    found = qd_frame_value_f32(frame, y, 0);
    for (int column = 0; column < 9; column++) {
        for (int k = 0; k < 7; k++) {
            for (int row = 0; row < 8; row++) {
                double sum = 0;

                for (int c = 0; c < 5; c++)
                    sum += (double)x[(c * 8 + row) * 9 + column] * (double)w[k * 5 + c];
                ck_assert_float_eq_tol(found[(column * 7 + k) * 8 + row], (float)sum, 1e-3f);
            }
        }
    }
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

static void check_refused(const char *op_name, const int *in, int n, struct qd_attr *attrs, int n_attrs,
                          enum qd_status status, const char *text)
{
    const struct qd_op *op = qd_op_find(op_name);
    struct qd_node *made;
    int y;

    ck_assert_ok(qd_graph_add_value(graph, text, &y, &err), &err);
    ck_assert_ok(qd_graph_add_node(graph, text, op_name, op, in, n, &y, 1, &made, &err), &err);
    made->opset = 13;
    made->attrs = attrs;
    made->n_attrs = n_attrs;
    err.text[0] = 0;
    ck_assert_int_eq(op->parse ? op->parse(graph, made, &err) : QD_OK, QD_OK);
    ck_assert_int_eq(op->infer(graph, made, &err), status);
    ck_assert_msg(strstr(err.text, text), "expected '%s', found '%s'", text, err.text);
    err.text[0] = 0;
}

START_TEST(test_errors)
{
    static const int64_t values[] = {1, 2};
    struct qd_attr equation = {.name = "equation", .kind = QD_ATTR_STRING, .s = "ab,cd->ad"};
    int in[2];

    begin(shape4(3, 4, 4));
    in[0] = graph->inputs[0];
    in[1] = integers("i", 2, values);
    check_refused("Add", in, 2, NULL, 0, QD_INVALID, "input 1: expected float as the others need, found int64");
    check_refused("And", in, 1, NULL, 0, QD_UNSUPPORTED, "input 0: expected bool, found float");
    check_refused("Exp", in + 1, 1, NULL, 0, QD_UNSUPPORTED, "input 0: expected float, found int64");
    check_refused("Mod", in, 1, NULL, 0, QD_INVALID, "fmod: expected 1 for floats, found 0");
    check_refused("CumSum", in, 2, NULL, 0, QD_INVALID, "input 1: expected at most 1 values, found 2");
    check_refused("Einsum", in, 1, &equation, 1, QD_INVALID, "expected a term for each input");
    equation.s = "abc->a";
    check_refused("Einsum", in, 1, &equation, 1, QD_INVALID, "expected a letter per dimension of each input");
    equation.s = "abcd->ae";
    check_refused("Einsum", in, 1, &equation, 1, QD_INVALID, "a label of the output is no input's");
    equation.s = "abcd->aa";
    check_refused("Einsum", in, 1, &equation, 1, QD_INVALID, "a label stands twice behind ->");
    in[1] = constant("wide", shape4(3, 4, 5), 1);
    check_refused("Max", in, 2, NULL, 0, QD_INVALID, "do not broadcast");
    in[1] = constant("slopes", (struct qd_shape){5, {2, 1, 1, 1, 1}}, 1);
    check_refused("PRelu", in, 2, NULL, 0, QD_INVALID, "expected operands that broadcast to [1,3,4,4]");
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_MAIN("elementwise", test_difference, test_scalars, test_functions, test_prelu, test_fused, test_where,
             test_einsum_product, test_errors)
