/* Passes on small graphs: what they make one node of, and what they leave alone. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/requant.h"
#include "op/op.h"
#include "op/piecewise.h"
#include "op/slice.h"
#include "pass/pass.h"
#include "tests/unit/unit.h"

static struct qd_graph *graph;
static struct qd_error err;

static void begin(int64_t c, int64_t h, int64_t w)
{
    int x;

    graph = qd_graph_new();
    ck_assert_ok(qd_graph_add_value(graph, "x", &x, &err), &err);
    graph->values[x].has_shape = true;
    graph->values[x].shape = (struct qd_shape){4, {1, c, h, w}};
    graph->values[x].dtype = QD_F32;
    graph->inputs = qd_alloc_array(1, sizeof(int));
    graph->outputs = qd_alloc_array(1, sizeof(int));
    graph->inputs[0] = graph->pixels = x;
    graph->n_inputs = 1;
}

static int constant(const char *name, struct qd_shape shape, float value)
{
    int index;
    void *data;

    ck_assert_ok(qd_graph_add_constant(graph, name, QD_F32, &shape, NULL, &index, &data, &err), &err);
    for (int64_t i = 0; i < qd_shape_count(&shape); i++)
        ((float *)data)[i] = value * (float)(i % 7 + 1);
    return index;
}

static int scalar(const char *name, float value)
{
    return constant(name, (struct qd_shape){0}, value);
}

static int node_with(const char *op_name, const char *out, const int *inputs, int n_inputs, struct qd_attr *attrs,
                     int n_attrs)
{
    const struct qd_op *op = qd_op_find(op_name);
    struct qd_node *made;
    int y;

    ck_assert_ptr_nonnull(op);
    ck_assert_ok(qd_graph_add_value(graph, out, &y, &err), &err);
    ck_assert_ok(qd_graph_add_node(graph, out, op_name, op, inputs, n_inputs, &y, 1, &made, &err), &err);
    made->opset = 13;
    made->attrs = attrs;
    made->n_attrs = n_attrs;
    ck_assert_ok(op->parse ? op->parse(graph, made, &err) : QD_OK, &err);
    ck_assert_ok(op->infer(graph, made, &err), &err);
    return y;
}

static int node(const char *op_name, const char *out, int a, int b)
{
    int inputs[2] = {a, b};

    return node_with(op_name, out, inputs, b < 0 ? 1 : 2, NULL, 0);
}

static int clip(const char *out, int x, float max)
{
    int inputs[3] = {x, scalar("low", 0), scalar("high", max)};

    return node_with("Clip", out, inputs, 3, NULL, 0);
}

static int conv(const char *out, int x, int64_t n, int64_t c_group, int64_t group)
{
    struct qd_attr attr = {.name = "group", .kind = QD_ATTR_INT, .i = group};
    int inputs[2] = {x}, y;
    char name[64];

    snprintf(name, sizeof(name), "%s.weights", out);
    inputs[1] = constant(name, (struct qd_shape){4, {n, c_group, 1, 1}}, 0.1f);
    y = node_with("Conv", out, inputs, 2, &attr, 1);

    graph->nodes[graph->n_nodes - 1].n_attrs = 0;
    return y;
}

static void run(int y)
{
    graph->outputs[0] = y;
    graph->n_outputs = 1;
    ck_assert_ok(qd_graph_sort(graph, &err), &err);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
}

/* What is left: operator names and activations, as "Conv+silu Mul". */
static void check_left(const char *expected)
{
    char text[256] = "";

    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_activation *act = &graph->nodes[n].act;
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, "%s%s%s%s", n ? " " : "", graph->nodes[n].op->name,
                 act->kind == QD_ACT_NONE ? "" : "+", qd_activation_name(act));
    }
    ck_assert_str_eq(text, expected);
    qd_graph_free(graph);
}

START_TEST(test_silu)
{
    int x, s;

    begin(3, 4, 5);
    x = conv("c", graph->inputs[0], 8, 3, 1);
    s = node("Sigmoid", "s", x, -1);
    run(node("Mul", "y", x, s));
    check_left("Conv+silu");
    begin(3, 4, 5); /* the gate is read twice: nothing is dropped */
    x = conv("c", graph->inputs[0], 8, 3, 1);
    s = node("Sigmoid", "s", x, -1);
    run(node("Add", "y", node("Mul", "m", s, x), s));
    check_left("Conv Sigmoid Mul Add");
    begin(3, 4, 5);
    run(node("Sigmoid", "s", conv("c", graph->inputs[0], 8, 3, 1), -1));
    check_left("Conv+sigmoid");
}
END_TEST

START_TEST(test_hard_swish)
{
    int x, gate;

    begin(3, 4, 5); /* x * (Clip(x + 3, 0, 6) / 6) */
    x = conv("c", graph->inputs[0], 8, 3, 1);
    gate = clip("clip", node("Add", "add", x, scalar("three", 3)), 6);
    run(node("Mul", "y", x, node("Div", "gate", gate, scalar("six", 6))));
    check_left("Conv+hardswish");
    begin(3, 4, 5); /* x * Clip(x + 3, 0, 6) / 6 */
    x = conv("c", graph->inputs[0], 8, 3, 1);
    gate = clip("clip", node("Add", "add", x, scalar("three", 3)), 6);
    run(node("Mul", "y", node("Mul", "m", x, gate), scalar("sixth", 1.0f / 6)));
    check_left("Conv+hardswish");
    begin(8, 4, 5); /* a gate for somebody else */
    x = conv("c", graph->inputs[0], 8, 8, 1);
    gate = clip("clip", node("Add", "add", x, scalar("three", 3)), 6);
    run(node("Mul", "y", node("Mul", "gate", gate, scalar("sixth", 1.0f / 6)), graph->inputs[0]));
    ck_assert_int_eq(graph->nodes[0].act.kind, QD_ACT_HARDSIGMOID);
    ck_assert_float_eq_tol(graph->nodes[0].act.alpha, 1.0f / 6, 1e-6f);
    ck_assert_float_eq_tol(graph->nodes[0].act.beta, 0, 1e-6f); /* the 3 is in the bias */
    check_left("Conv+hardsigmoid Mul");
    begin(3, 4, 5); /* another number */
    x = conv("c", graph->inputs[0], 8, 3, 1);
    gate = clip("clip", node("Add", "add", x, scalar("three", 3)), 6);
    run(node("Mul", "y", x, node("Div", "gate", gate, scalar("five", 5))));
    check_left("Conv Add+clip Div Mul");
}
END_TEST

/* conv * k + b - 1, per channel: all in the weights and the bias. */
START_TEST(test_fold_lines)
{
    struct qd_shape per_channel = {3, {8, 1, 1}};
    const float *weights, *bias;
    int x;

    begin(3, 4, 5);
    x = conv("c", graph->inputs[0], 8, 3, 1);
    x = node("Mul", "m", x, constant("k", per_channel, 2));
    x = node("Add", "a", x, constant("b", per_channel, 3));
    run(node("Sub", "y", x, scalar("one", 1)));
    ck_assert_int_eq(graph->n_nodes, 1);
    weights = graph->values[graph->nodes[0].inputs[1]].data;
    bias = graph->values[graph->nodes[0].inputs[2]].data;
    for (int c = 0; c < 8; c++) {
        ck_assert_float_eq_tol(bias[c], (float)(3 * (c % 7 + 1) - 1), 1e-5f);
        for (int i = 0; i < 3; i++)
            ck_assert_float_eq_tol(weights[3 * c + i], 0.1f * (float)((3 * c + i) % 7 + 1) * 2 * (float)(c % 7 + 1),
                                   1e-5f);
    }
    check_left("Conv");
}
END_TEST

START_TEST(test_mish_and_gelu)
{
    int x, erf;

    begin(3, 4, 5);
    x = conv("c", graph->inputs[0], 8, 3, 1);
    run(node("Mul", "y", x, node("Tanh", "t", node("Softplus", "s", x, -1), -1)));
    check_left("Conv+mish");
    for (int half_first = 0; half_first < 2; half_first++) {
        begin(3, 4, 5);
        x = conv("c", graph->inputs[0], 8, 3, 1);
        erf = node("Erf", "erf", node("Div", "d", x, scalar("root", 1.4142135f)), -1);
        erf = node("Add", "add", erf, scalar("one", 1));
        if (half_first)
            run(node("Mul", "y", node("Mul", "h", x, scalar("half", 0.5f)), erf));
        else
            run(node("Mul", "y", node("Mul", "h", x, erf), scalar("half", 0.5f)));
        check_left("Conv+gelu");
    }
}
END_TEST

static int reshape(const char *out, int x, const char *name, int n, const int64_t *dims)
{
    struct qd_shape shape = {.n_dims = 1, .dims = {n}};
    int inputs[2] = {x, 0};

    ck_assert_ok(qd_graph_add_constant(graph, name, QD_I64, &shape, dims, &inputs[1], NULL, &err), &err);
    return node_with("Reshape", out, inputs, 2, NULL, 0);
}

START_TEST(test_shuffle)
{
    static const int64_t grouped[] = {1, 2, 4, 4, 5}, flat[] = {1, 8, 4, 5}, swap[] = {0, 2, 1, 3, 4},
                         other[] = {0, 2, 1, 4, 3};

    for (int i = 0; i < 2; i++) {
        struct qd_attr perm = {.name = "perm", .kind = QD_ATTR_INTS, .ints = i ? other : swap, .n = 5};
        int x;

        begin(3, 4, 5);
        x = reshape("split", conv("c", graph->inputs[0], 8, 3, 1), "grouped", 5, grouped);
        x = node_with("Transpose", "swap", &x, 1, &perm, 1);
        run(reshape("y", x, "flat", 4, flat));
        check_left(i ? "Conv Reshape Transpose Reshape" : "Conv quantd.ChannelShuffle");
    }
}
END_TEST

/* One of two channels in two, as ShuffleNetV2 is sometimes written: a Slice that begins at the Gather's index. */
START_TEST(test_deinterleave)
{
    static const int64_t pairs[] = {4, 2, 20}, halves[] = {2, 1, 4, 4, 5}, swap[] = {1, 0, 2}, stay[] = {0, 1, 2};

    for (int i = 0; i < 2; i++) {
        struct qd_attr perm = {.name = "perm", .kind = QD_ATTR_INTS, .ints = i ? stay : swap, .n = 3};
        const int64_t second = 1;
        const struct qd_slice_params *params;
        int x, inputs[2];

        begin(3, 4, 5);
        x = reshape("split", conv("c", graph->inputs[0], 8, 3, 1), "pairs", 3, pairs);
        x = node_with("Transpose", "swap", &x, 1, &perm, 1);
        inputs[0] = reshape("h", x, "halves", 5, halves);
        ck_assert_ok(
            qd_graph_add_constant(graph, "second", QD_I64, &(struct qd_shape){0}, &second, &inputs[1], NULL, &err),
            &err);
        x = node_with("Gather", "picked", inputs, 2, NULL, 0);
        run(conv("y", x, 2, 4, 1));
        params = graph->nodes[1].params;
        if (!i)
            ck_assert(params->start[1] == 1 && params->step[1] == 2 && params->start[0] == 0 && params->step[2] == 1);
        check_left(i ? "Conv Reshape Transpose Reshape Gather Conv" : "Conv Slice Conv");
    }
}
END_TEST

/* Copies that only outputs read are float, so that they force no scale on what they join; others are not. */
START_TEST(test_float_tail)
{
    for (int i = 0; i < 2; i++) {
        struct qd_attr axis = {.name = "axis", .kind = QD_ATTR_INT, .i = 1};
        int inputs[2], x;

        begin(3, 4, 5);
        inputs[0] = conv("a", graph->inputs[0], 4, 3, 1);
        inputs[1] = conv("b", graph->inputs[0], 2, 3, 1);
        x = node_with("Concat", "joined", inputs, 2, &axis, 1);
        run(i ? conv("y", x, 2, 6, 1) : x);
        for (int n = 0; n < graph->n_nodes; n++) {
            const struct qd_node *node = &graph->nodes[n];
            bool tail = !i && strcmp(node->op->name, "Concat") == 0;

            ck_assert_int_eq(node->precision, tail ? QD_PRECISION_F32 : QD_PRECISION_Q8);
            ck_assert_int_eq(qd_node_shares_scale(node), i && strcmp(node->op->name, "Concat") == 0);
        }
        qd_graph_free(graph);
    }
}
END_TEST

/* A line that goes into its convolution leaves there the rounding that the model gave its output. */
START_TEST(test_given_line)
{
    const struct qd_qparams q = {0.25f, 7, 8};
    int inputs[2], y;

    begin(3, 4, 5);
    inputs[0] = conv("c", graph->inputs[0], 4, 3, 1);
    inputs[1] = scalar("half", 0.5f);
    y = node_with("Mul", "line", inputs, 2, NULL, 0);
    graph->values[y].given = true;
    graph->values[y].q = q;
    run(conv("y", y, 2, 4, 1));
    y = graph->nodes[0].outputs[0];
    ck_assert(graph->values[y].given && graph->values[y].q.zero_point == q.zero_point);
    ck_assert_float_eq(graph->values[y].q.scale, q.scale);
    check_left("Conv Conv");
}
END_TEST

/* x's last dimension to mean 0 and variance 1, as exporters write it; axis: the one of the means. */
static int normalized(int x, struct qd_attr *axis, bool by_mul)
{
    int m = node_with("ReduceMean", "mean", &x, 1, axis, 1), d = node("Sub", "d", x, m), v;

    v = by_mul ? node("Mul", "square", d, d) : node("Pow", "square", d, scalar("2", 2));
    v = node_with("ReduceMean", "variance", &v, 1, axis, 1);
    return node("Div", "q", d, node("Sqrt", "root", node("Add", "v.e", v, scalar("e", 1e-3f)), -1));
}

START_TEST(test_normalization)
{
    static const int64_t last[] = {-1}, first[] = {1};
    const struct qd_shape row = {1, {5}};
    struct qd_attr axis = {.name = "axes", .kind = QD_ATTR_INTS, .ints = last, .n = 1};
    int y;

    begin(3, 4, 5);
    y = normalized(graph->inputs[0], &axis, false);
    y = node("Mul", "scaled", y, constant("g", row, 1));
    run(node("Add", "y", y, constant("b", row, 1)));
    ck_assert_int_eq(graph->nodes[0].n_inputs, 3);
    ck_assert_int_eq(graph->nodes[0].inputs[1], qd_graph_find_value(graph, "g"));
    ck_assert_int_eq(graph->nodes[0].inputs[2], qd_graph_find_value(graph, "b"));
    ck_assert_float_eq(qd_node_attr(&graph->nodes[0], "epsilon")->f, 1e-3f);
    check_left("LayerNormalization");
    begin(3, 4, 5);
    run(normalized(graph->inputs[0], &axis, true));
    check_left("LayerNormalization");
    begin(3, 4, 5); /* over channels: another one */
    axis.ints = first;
    run(normalized(graph->inputs[0], &axis, true));
    check_left("ReduceMean Sub Mul ReduceMean Add Sqrt Div");
    begin(3, 4, 5); /* the difference is read once more */
    axis.ints = last;
    y = normalized(graph->inputs[0], &axis, true);
    run(node("Add", "y", y, qd_graph_find_value(graph, "d")));
    check_left("ReduceMean Sub Mul ReduceMean Add Sqrt Div Add");
}
END_TEST

/* What goes into a linear layer, and what does not: rows by channel 1, what somebody else reads, what is no line. */
START_TEST(test_linear)
{
    static const int64_t back[] = {0, 3, 1, 2};
    const struct qd_shape row = {1, {4}}, matrix = {2, {5, 4}};
    struct qd_attr perm = {.name = "perm", .kind = QD_ATTR_INTS, .ints = back, .n = 4};
    int x, y, by_rows;

    begin(3, 4, 5);
    y = node("MatMul", "l", graph->inputs[0], constant("w", matrix, 0.1f));
    y = node("Mul", "m", node("Add", "a", y, constant("b", row, 1)), scalar("half", 0.5f));
    run(node("Sub", "s", node("Div", "d", y, constant("by", row, 2)), constant("less", row, 1)));
    check_left("quantd.Linear");
    begin(3, 4, 5);
    y = node("MatMul", "l", graph->inputs[0], constant("w", matrix, 0.1f));
    by_rows = constant("b", (struct qd_shape){2, {4, 1}}, 1);
    run(node("Add", "a", y, by_rows));
    check_left("MatMul Add");
    begin(3, 4, 5);
    y = node("MatMul", "l", graph->inputs[0], constant("w", matrix, 0.1f));
    run(node("Mul", "m", node("Add", "a", y, constant("b", row, 1)), y));
    check_left("MatMul Add Mul");
    begin(3, 4, 5); /* behind a Transpose channels are dimension 1; the sum sinks through it */
    x = node("MatMul", "other", graph->inputs[0], constant("w2", matrix, 1));
    x = node_with("Transpose", "tx", &x, 1, &perm, 1);
    y = node("MatMul", "l", graph->inputs[0], constant("w", matrix, 0.1f));
    y = node("Add", "b.sum", y, constant("b", row, 1));
    y = node_with("Transpose", "t", &y, 1, &perm, 1);
    y = node("Mul", "m", y, constant("scale", (struct qd_shape){3, {4, 1, 1}}, 2));
    run(node("Add", "a", y, x));
    check_left("MatMul Transpose Transpose quantd.Linear Transpose");
}
END_TEST

/* The float and the double definition of each activation, and cubics for steps from fine to coarse. */
START_TEST(test_piecewise)
{
    for (int kind = QD_ACT_CLIP; kind <= QD_ACT_MISH; kind++) {
        struct qd_activation act = {(enum qd_activation_kind)kind, 0, 6, 0.2f, 0.5f};

        for (double x = -30; x <= 30; x += 0.0625) {
            float y = (float)x;

            qd_kernels_of(QD_ISA_SCALAR)->f32->activate(&act, NULL, &y, 1);
            ck_assert_double_eq_tol((double)y, qd_activation_f64(&act, x), 1e-6 + 1e-6 * fabs(x));
        }
        if (qd_piecewise_finest(act.kind) > 0) { /* all of it, in the finest step that a channel may have */
            double step = qd_piecewise_finest(act.kind);
            struct qd_piecewise p;

            ck_assert_ok(qd_piecewise_fit(&act, step, 0, -1 / step, 100 / step, QD_PIECEWISE_STEPS_ERROR, &p, &err),
                         &err);
            ck_assert_int_eq(
                qd_piecewise_fit(&act, step / 2, 0, -2 / step, 200 / step, QD_PIECEWISE_STEPS_ERROR, &p, &err),
                QD_UNSUPPORTED);
            for (double x = -30; x < 30; x += 1.0 / 64)
                ck_assert_double_le(
                    fabs((double)qd_piecewise_at(&p, (float)(2 * x / step)) * step / 2 - qd_activation_f64(&act, x)),
                    2 * QD_PIECEWISE_STEPS_ERROR * step);
        }
        for (double top = 1.0 / 256; qd_piecewise_fits(act.kind) && top < 1000; top *= 2) {
            double bottom = act.kind == QD_ACT_SIGMOID ? 0 : act.kind == QD_ACT_TANH ? -fmin(top, 1) : -fmin(top, 0.3);
            double step = ((act.kind <= QD_ACT_TANH ? fmin(top, 1) : top) - bottom) / 255, zero = rint(-bottom / step);
            struct qd_piecewise p;

            ck_assert_ok(qd_piecewise_fit(&act, step, zero, 0, 255, QD_PIECEWISE_MAX_ERROR, &p, &err), &err);
            for (double x = bottom; x < 12; x += 1.0 / 64) {
                double want = fmin(fmax(qd_activation_f64(&act, x) / step + zero, 0), 255);
                double found = fmin(fmax((double)qd_piecewise_at(&p, (float)(x / step)), 0), 255);

                ck_assert_msg(fabs(want - found) <= QD_PIECEWISE_MAX_ERROR, "%s top %g at %g: expected %g, found %g",
                              qd_activation_name(&act), top, x, want, found);
            }
        }
    }
}
END_TEST

QD_UNIT_MAIN("pass", test_silu, test_fold_lines, test_hard_swish, test_mish_and_gelu, test_shuffle, test_deinterleave,
             test_float_tail, test_given_line, test_normalization, test_linear, test_piecewise)
