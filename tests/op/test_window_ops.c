/*
 * Operators over windows and whole pictures: floats of every rank, several images and groups against the definition in
 * plain loops, and the int8 forms against the float ones.
 */
#include <string.h>

#include "op/conv.h"
#include "op/ops.h"
#include "pass/pass.h"
#include "tests/op/check_q8.h"

/* The node that was added last, on its constants; output 0 as floats, to be freed. */
static float *run_last(int y)
{
    const struct qd_node *last = &graph->nodes[graph->n_nodes - 1];
    struct qd_f32_run run = {.kernels = qd_kernels_of(QD_ISA_SCALAR)};
    struct qd_view in[8] = {{0}}, out[8] = {{0}};
    size_t scratch = last->op->scratch_f32 ? last->op->scratch_f32(graph, last) : 0;
    float *result;

    for (int i = 0; i < last->n_inputs; i++) {
        struct qd_value *value = &graph->values[last->inputs[i]];

        in[i] = (struct qd_view){value->dtype, &value->shape, (void *)(uintptr_t)value->data};
    }
    run.scratch = qd_alloc_array(scratch + 1, 1);
    result = qd_alloc_array((size_t)qd_shape_count(&graph->values[y].shape) + 1, sizeof(float));
    out[0] = (struct qd_view){QD_F32, &graph->values[y].shape, result};
    last->op->run_f32(last, in, out, &run);
    qd_free(run.scratch);
    return result;
}

/* A window in ONNX's order of axes, n of them. */
struct axes {
    int n;
    int64_t in[3], kernel[3], stride[3], dilation[3], begin[3], end[3];
};

static const struct axes windows[] = {
    {1, {11}, {3}, {2}, {2}, {2}, {1}},
    {1, {9}, {1}, {1}, {1}, {0}, {0}},
    {2, {7, 9}, {3, 2}, {2, 1}, {1, 2}, {1, 0}, {0, 1}},
    {3, {5, 6, 7}, {2, 3, 2}, {1, 2, 3}, {2, 1, 1}, {1, 0, 1}, {0, 2, 1}},
    {3, {4, 5, 5}, {4, 5, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}},
    {3, {3, 4, 4}, {1, 1, 1}, {2, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}},
};

/* Calls for all taps of all outputs of one picture: position in the output, tap, position in the input (-1: padding).
 */
static void each_tap(const struct axes *a, const int64_t *out,
                     void (*call)(void *context, int64_t o, int64_t tap, int64_t i), void *context)
{
    int64_t n_out = 1, n_taps = 1;

    for (int i = 0; i < a->n; i++) {
        n_out *= out[i];
        n_taps *= a->kernel[i];
    }
    for (int64_t o = 0; o < n_out; o++) {
        for (int64_t t = 0; t < n_taps; t++) {
            int64_t rest_o = o, rest_t = t, position = 0, pitch = 1;

            for (int i = a->n - 1; i >= 0; i--) {
                int64_t at = rest_o % out[i] * a->stride[i] - a->begin[i] + rest_t % a->kernel[i] * a->dilation[i];

                rest_o /= out[i];
                rest_t /= a->kernel[i];
                position = position < 0 || at < 0 || at >= a->in[i] ? -1 : position + at * pitch;
                pitch *= a->in[i];
            }
            call(context, o, t, position);
        }
    }
}

static struct qd_shape shape_of(int64_t n, int64_t c, int n_axes, const int64_t *sizes)
{
    struct qd_shape shape = {.n_dims = 2 + n_axes, .dims = {n, c}};

    memcpy(shape.dims + 2, sizes, (size_t)n_axes * sizeof(int64_t));
    return shape;
}

static int64_t product(int n, const int64_t *sizes)
{
    int64_t result = 1;

    for (int i = 0; i < n; i++)
        result *= sizes[i];
    return result;
}

/* The attributes of a window; pads is filled. */
static int window_attrs(const struct axes *a, int64_t pads[6], struct qd_attr *attrs)
{
    memcpy(pads, a->begin, (size_t)a->n * sizeof(int64_t));
    memcpy(pads + a->n, a->end, (size_t)a->n * sizeof(int64_t));
    attrs[0] = ints("kernel_shape", a->n, a->kernel);
    attrs[1] = ints("strides", a->n, a->stride);
    attrs[2] = ints("dilations", a->n, a->dilation);
    attrs[3] = ints("pads", 2 * a->n, pads);
    return 4;
}

struct sums {
    const float *in, *weights;
    double *out;
    int64_t n_in, n_taps;
};

static void add_product(void *context, int64_t o, int64_t tap, int64_t i)
{
    struct sums *s = context;

    if (i >= 0)
        s->out[o] += (double)s->in[i] * (double)s->weights[tap];
}

static void check_conv(const struct axes *a, int64_t images, int64_t c, int64_t n, int64_t group)
{
    struct qd_attr attrs[5];
    int64_t pads[6], n_in = product(a->n, a->in), n_taps = product(a->n, a->kernel), n_out, c_group = c / group;
    const float *x, *w, *b;
    int inputs[3], y, n_attrs = window_attrs(a, pads, attrs);
    float *found;
    double *want;

    attrs[n_attrs++] = one("group", group);
    begin(shape4(1, 1, 1));
    inputs[0] = constant("in", shape_of(images, c, a->n, a->in), 1);
    inputs[1] = constant("w", shape_of(n, c_group, a->n, a->kernel), 1);
    inputs[2] = constant("b", (struct qd_shape){1, {n}}, 1);
    y = node("Conv", "y", inputs, 3, attrs, n_attrs);
    found = run_last(y);
    x = graph->values[inputs[0]].data;
    w = graph->values[inputs[1]].data;
    b = graph->values[inputs[2]].data;
    n_out = product(a->n, graph->values[y].shape.dims + 2);
    ck_assert_int_eq(graph->values[y].shape.dims[0], images);
    want = qd_alloc_array((size_t)n_out, sizeof(double));
    for (int64_t o = 0; o < images * n; o++) {
        int64_t image = o / n, g = o % n / (n / group);

        for (int64_t i = 0; i < n_out; i++)
            want[i] = (double)b[o % n];
        for (int64_t i = 0; i < c_group; i++) {
            struct sums s = {x + (image * c + g * c_group + i) * n_in, w + (o % n * c_group + i) * n_taps, want, 0, 0};

            each_tap(a, graph->values[y].shape.dims + 2, add_product, &s);
        }
        for (int64_t i = 0; i < n_out; i++)
            ck_assert_double_eq_tol((double)found[o * n_out + i], want[i], 1e-5);
    }
    qd_free(want);
    qd_free(found);
    qd_graph_free(graph);
}

START_TEST(test_conv_ranks)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(windows); i++) {
        check_conv(&windows[i], 1, 3, 5, 1);
        check_conv(&windows[i], 3, 4, 6, 2);
        check_conv(&windows[i], 2, 4, 4, 4);
    }
}
END_TEST

/* The other way round: what a tap reads in a convolution from out to in, it writes here. */
struct scatter {
    const float *in, *weights;
    double *out;
};

static void scatter_product(void *context, int64_t o, int64_t tap, int64_t i)
{
    struct scatter *s = context;

    if (i >= 0)
        s->out[i] += (double)s->in[o] * (double)s->weights[tap];
}

static void check_conv_transpose(const struct axes *out, int64_t images, int64_t c, int64_t n, int64_t group)
{
    struct qd_attr attrs[6];
    int64_t pads[6], in_sizes[3], padding[3], n_taps = product(out->n, out->kernel), n_out = product(out->n, out->in);
    int64_t n_in, c_group = c / group, n_group = n / group;
    int inputs[3], y, n_attrs = window_attrs(out, pads, attrs);
    const float *x, *w, *b;
    float *found;

    for (int i = 0; i < out->n; i++) {
        int64_t room = out->in[i] + out->begin[i] + out->end[i] - (out->kernel[i] - 1) * out->dilation[i] - 1;

        in_sizes[i] = room / out->stride[i] + 1;
        padding[i] = room % out->stride[i];
    }
    n_in = product(out->n, in_sizes);
    attrs[n_attrs++] = one("group", group);
    attrs[n_attrs++] = ints("output_padding", out->n, padding);
    begin(shape4(1, 1, 1));
    inputs[0] = constant("in", shape_of(images, c, out->n, in_sizes), 1);
    inputs[1] = constant("w", shape_of(c, n_group, out->n, out->kernel), 1);
    inputs[2] = constant("b", (struct qd_shape){1, {n}}, 1);
    y = node("ConvTranspose", "y", inputs, 3, attrs, n_attrs);
    ck_assert_int_eq(qd_shape_count(&graph->values[y].shape), images * n * n_out);
    found = run_last(y);
    x = graph->values[inputs[0]].data;
    w = graph->values[inputs[1]].data;
    b = graph->values[inputs[2]].data;
    for (int64_t o = 0; o < images * n; o++) {
        int64_t image = o / n, g = o % n / n_group;
        double *want = qd_alloc_array((size_t)n_out, sizeof(double));

        for (int64_t i = 0; i < c_group; i++) {
            int64_t channel = g * c_group + i;
            struct scatter s = {x + (image * c + channel) * n_in, w + (channel * n_group + o % n_group) * n_taps, want};

            each_tap(out, in_sizes, scatter_product, &s);
        }
        for (int64_t i = 0; i < n_out; i++)
            ck_assert_double_eq_tol((double)found[o * n_out + i], want[i] + (double)b[o % n], 1e-5);
        qd_free(want);
    }
    qd_free(found);
    qd_graph_free(graph);
}

START_TEST(test_conv_transpose_ranks)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(windows); i++) {
        check_conv_transpose(&windows[i], 1, 3, 5, 1);
        check_conv_transpose(&windows[i], 3, 4, 6, 2);
        check_conv_transpose(&windows[i], 2, 4, 4, 4);
    }
}
END_TEST

/* With a batch normalization and an activation behind it, as a convolution: floats as before, and int8. */
static void check_expanded(int64_t kernel, int64_t stride, const int64_t *pads, int64_t padding, int opset)
{
    static const char *const names[] = {"gamma", "beta", "mean", "var"};
    const int64_t kernels[] = {kernel, kernel}, strides[] = {stride, stride}, paddings[] = {padding, padding};
    struct qd_attr attrs[4] = {ints("kernel_shape", 2, kernels), ints("strides", 2, strides), ints("pads", 4, pads),
                               ints("output_padding", 2, paddings)};
    struct qd_plan *plan, *passed_plan;
    struct qd_frame *frame, *passed;
    int inputs[5], y;

    inputs[0] = start_features(6);
    inputs[1] = constant("w", (struct qd_shape){4, {6, 5, kernel, kernel}}, 1);
    inputs[2] = constant("b", (struct qd_shape){1, {5}}, 1);
    inputs[0] = node("ConvTranspose", "up", inputs, 3, attrs, 4);
    graph->nodes[graph->n_nodes - 1].opset = opset;
    for (int i = 0; i < 4; i++) {
        inputs[1 + i] = constant(names[i], (struct qd_shape){1, {5}}, 1);
        for (int c = 0; c < 5 && i == 3; c++)
            ((float *)(uintptr_t)graph->values[inputs[4]].data)[c] += 1;
    }
    y = node1("Relu", "active", node("BatchNormalization", "norm", inputs, 5, NULL, 0));
    y = node1("Sigmoid", "y", y); /* what only copies towards an output runs in float */
    end(y);
    frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
    for (int n = 0; n < graph->n_nodes; n++)
        ck_assert_str_ne(graph->nodes[n].op_name, "ConvTranspose");
    passed = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &passed_plan);
    for (int64_t i = 0; i < qd_shape_count(&graph->values[y].shape); i++)
        ck_assert_float_eq_tol(qd_frame_output(frame, 0, 0)[i], qd_frame_output(passed, 0, 0)[i], 1e-3f);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_frame_free(passed);
    qd_plan_free(passed_plan);
    check_q8(5);
}

START_TEST(test_conv_transpose_q8)
{
    static const int64_t none[] = {0, 0, 0, 0}, same[] = {1, 1, 1, 1}, uneven[] = {0, 3, 2, 1}, wide[] = {3, 3, 3, 3};

    check_expanded(2, 2, none, 0, 13);
    check_expanded(3, 2, same, 1, 13);
    check_expanded(4, 2, same, 0, 13);
    check_expanded(4, 2, uneven, 1, 9);
    check_expanded(3, 1, same, 0, 13);
    check_expanded(3, 1, wide, 0, 13);
    check_expanded(5, 3, wide, 2, 13);
}
END_TEST

/* Groups and volumes stay what they are; the line behind them goes into their weights. */
START_TEST(test_conv_transpose_line)
{
    struct qd_attr attr = one("group", 2);
    struct qd_plan *plan, *passed_plan;
    struct qd_frame *frame, *passed;
    int inputs[2], y;

    inputs[0] = start_features(6);
    inputs[1] = constant("w", (struct qd_shape){4, {6, 2, 3, 3}}, 1);
    inputs[0] = node("ConvTranspose", "up", inputs, 2, &attr, 1);
    inputs[1] = constant("k", shape4(4, 1, 1), 1);
    y = node("Mul", "y", inputs, 2, NULL, 0);
    end(y);
    frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
    ck_assert_int_eq(graph->n_nodes, 2);
    passed = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &passed_plan);
    for (int64_t i = 0; i < qd_shape_count(&graph->values[y].shape); i++)
        ck_assert_float_eq_tol(qd_frame_value_f32(frame, y, 0)[i], qd_frame_output(passed, 0, 0)[i], 1e-4f);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_frame_free(passed);
    qd_plan_free(passed_plan);
    qd_graph_free(graph);
}
END_TEST

struct pool {
    const float *in;
    double largest[1024], sums[1024], counts[1024];
};

static void pool_tap(void *context, int64_t o, int64_t tap, int64_t i)
{
    struct pool *p = context;

    (void)tap;
    if (i < 0)
        return;
    p->largest[o] = p->counts[o] > 0 ? fmax(p->largest[o], (double)p->in[i]) : (double)p->in[i];
    p->sums[o] += (double)p->in[i];
    p->counts[o]++;
}

static void check_pool(const char *name, const struct axes *a)
{
    struct qd_attr attrs[4];
    int64_t pads[6], n_in = product(a->n, a->in), n_out;
    int x, y, n_attrs = window_attrs(a, pads, attrs);
    float *found;

    begin(shape4(1, 1, 1));
    x = constant("in", shape_of(2, 3, a->n, a->in), 1);
    y = node(name, "y", &x, 1, attrs, n_attrs);
    found = run_last(y);
    n_out = product(a->n, graph->values[y].shape.dims + 2);
    for (int64_t plane = 0; plane < 6; plane++) {
        struct pool pool = {.in = (const float *)graph->values[x].data + plane * n_in};

        each_tap(a, graph->values[y].shape.dims + 2, pool_tap, &pool);
        for (int64_t i = 0; i < n_out; i++) {
            double want = strcmp(name, "MaxPool") == 0 ? pool.largest[i] : pool.sums[i] / pool.counts[i];

            if (pool.counts[i] > 0)
                ck_assert_double_eq_tol((double)found[plane * n_out + i], want, 1e-6);
        }
    }
    qd_free(found);
    qd_graph_free(graph);
}

START_TEST(test_pool_ranks)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(windows); i++) {
        check_pool("MaxPool", &windows[i]);
        check_pool("AveragePool", &windows[i]);
    }
}
END_TEST

/* One output of small numbers. */
static void check_by_hand(const char *name, struct qd_shape shape, const float *x, struct qd_attr *attrs, int n_attrs,
                          int n, const float *want)
{
    int in, y;
    float *found;

    begin(shape4(1, 1, 1));
    in = constant("in", shape, 1);
    memcpy((void *)(uintptr_t)graph->values[in].data, x, (size_t)qd_shape_count(&shape) * sizeof(float));
    y = node(name, "y", &in, 1, attrs, n_attrs);
    ck_assert_int_eq(qd_shape_count(&graph->values[y].shape), n);
    found = run_last(y);
    for (int i = 0; i < n; i++)
        ck_assert_float_eq_tol(found[i], want[i], 1e-5f);
    qd_free(found);
    qd_graph_free(graph);
}

START_TEST(test_lp_pools)
{
    static const float x[] = {3, -4, 0, 5, -12}, two[] = {5, 4, 5, 13}, one_norm[] = {7, 5}, whole[] = {13.9283883f},
                       cubes[] = {12.4805029f};
    const int64_t kernel[] = {2}, stride[] = {3};
    struct qd_attr attrs[] = {ints("kernel_shape", 1, kernel), one("p", 1), ints("strides", 1, stride)};
    struct qd_attr third = one("p", 3);
    struct qd_shape shape = {.n_dims = 3, .dims = {1, 1, 5}};

    check_by_hand("LpPool", shape, x, attrs, 1, 4, two);
    attrs[0] = ints("kernel_shape", 1, kernel);
    shape.dims[2] = 4;
    attrs[2].ints = (const int64_t[]){2};
    check_by_hand("LpPool", shape, x, attrs, 3, 2, one_norm);
    shape.dims[2] = 5;
    check_by_hand("GlobalLpPool", shape, x, NULL, 0, 1, whole);
    check_by_hand("GlobalLpPool", shape, x, &third, 1, 1, cubes);
}
END_TEST

/* One group over two channels of two pixels: mean 4, variance 5. */
START_TEST(test_group_normalization)
{
    static const float x[] = {1, 3, 5, 7}, scale[] = {1, 2}, bias[] = {0, 1},
                       want[] = {-1.3416408f, -0.4472136f, 1.8944272f, 3.6832816f};
    struct qd_attr attrs[] = {one("num_groups", 1), {.name = "epsilon", .kind = QD_ATTR_FLOAT, .f = 0}};

    for (int64_t n = 1; n <= 2; n++) {
        int inputs[3], y;
        float *found;

        begin(shape4(1, 1, 1));
        inputs[0] = constant("in", (struct qd_shape){3, {1, 2, 2}}, 1);
        inputs[1] = constant("scale", (struct qd_shape){1, {n}}, 1);
        inputs[2] = constant("bias", (struct qd_shape){1, {n}}, 1);
        memcpy((void *)(uintptr_t)graph->values[inputs[0]].data, x, sizeof(x));
        memcpy((void *)(uintptr_t)graph->values[inputs[1]].data, scale, (size_t)n * sizeof(float));
        memcpy((void *)(uintptr_t)graph->values[inputs[2]].data, bias, (size_t)n * sizeof(float));
        y = node("GroupNormalization", "y", inputs, 3, attrs, 2);
        found = run_last(y);
        for (int i = 0; i < 4; i++) /* of one scale and bias for the group the second channel is as the first */
            ck_assert_float_eq_tol(found[i], n == 1 && i > 1 ? (want[i] - 1) / 2 : want[i], 1e-5f);
        graph->nodes[0].opset = 21;
        ck_assert_int_eq(graph->nodes[0].op->infer(graph, &graph->nodes[0], &err), n == 1 ? QD_INVALID : QD_OK);
        err.text[0] = 0;
        qd_free(found);
        qd_graph_free(graph);
    }
}
END_TEST

START_TEST(test_lp_normalization)
{
    static const float x[] = {3, -4, 0, 0}, two[] = {0.6f, -0.8f, 0, 0}, ones[] = {3.0f / 7, -4.0f / 7, 0, 0},
                       first[] = {1, -1, 0, 0};
    struct qd_attr p = one("p", 1), axis = one("axis", 0);
    struct qd_shape shape = {.n_dims = 2, .dims = {2, 2}};

    check_by_hand("LpNormalization", shape, x, NULL, 0, 4, two);
    check_by_hand("LpNormalization", shape, x, &p, 1, 4, ones);
    check_by_hand("LpNormalization", shape, x, &axis, 1, 4, first);
}
END_TEST

START_TEST(test_global_max_pool_q8)
{
    int x = start_features(35);

    end(node1("GlobalMaxPool", "y", x));
    check_q8(1);
}
END_TEST

START_TEST(test_depth_and_space_q8)
{
    struct qd_attr attrs[] = {one("blocksize", 2), {.name = "mode", .kind = QD_ATTR_STRING, .s = "CRD"}};
    int64_t widths[] = {0, 0, 0, 1};
    struct qd_attr pads = ints("pads", 4, widths);
    int inputs[2];

    for (int n_attrs = 1; n_attrs <= 2; n_attrs++) {
        int x = start_features(48);

        end(node("DepthToSpace", "y", &x, 1, attrs, n_attrs));
        check_q8(1);
    }
    inputs[0] = start_features(6);
    inputs[1] = constant("w", (struct qd_shape){4, {6, 6, 1, 1}}, 1);
    inputs[0] = node("Conv", "ten", inputs, 2, &pads, 1);
    end(node("SpaceToDepth", "y", inputs, 1, attrs, 1));
    check_q8(5);
}
END_TEST

/* What has no int8 form is named, and runs. */
START_TEST(test_ranks_run_in_float)
{
    const int64_t shape[] = {1, 6, 72}, kernel[] = {3};
    struct qd_attr attr = ints("kernel_shape", 1, kernel);
    struct qd_plan *plan;
    struct qd_frame *frame;
    struct qd_step_info info;
    int inputs[2], n_f32 = 0;

    inputs[0] = start_features(6);
    inputs[1] = integers("shape", 3, shape);
    inputs[0] = node("Reshape", "r", inputs, 2, NULL, 0);
    inputs[1] = constant("w", (struct qd_shape){3, {4, 6, 3}}, 1);
    inputs[0] = node("Conv", "c", inputs, 2, NULL, 0);
    end(node("MaxPool", "y", inputs, 1, &attr, 1));
    frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    scales_from(frame, 2);
    qd_frame_free(frame);
    qd_plan_free(plan);
    frame = run_plan(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        qd_plan_step(plan, s, &info);
        n_f32 += info.why_f32 && strcmp(info.why_f32, "no int8 form for these shapes or attributes") == 0;
    }
    ck_assert_int_eq(n_f32, 2);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

/* Three axes of int64, the last one shrinking: intermediates are larger than what comes out, and wider than floats. */
START_TEST(test_resize_integers)
{
    struct qd_shape shape = {3, {2, 2, 9}};
    const float scales[] = {2, 2, 1.0f / 3};
    int64_t numbers[36];
    struct qd_attr attrs[] = {{.name = "coordinate_transformation_mode", .kind = QD_ATTR_STRING, .s = "asymmetric"},
                              {.name = "nearest_mode", .kind = QD_ATTR_STRING, .s = "floor"}};
    struct qd_f32_run run = {.kernels = qd_kernels_of(QD_ISA_SCALAR)};
    int inputs[3] = {0, QD_NO_VALUE, 0}, y;
    const struct qd_node *made;
    struct qd_view in[3] = {{0}}, out = {QD_I64, NULL, NULL};

    for (int i = 0; i < 36; i++)
        numbers[i] = 1000000007LL * i;
    begin(shape4(1, 2, 2));
    ck_assert_ok(qd_graph_add_constant(graph, "n", QD_I64, &shape, numbers, &inputs[0], NULL, &err), &err);
    ck_assert_ok(qd_graph_add_constant(graph, "s", QD_F32, &(struct qd_shape){1, {3}}, scales, &inputs[2], NULL, &err),
                 &err);
    y = node("Resize", "y", inputs, 3, attrs, 2);
    made = &graph->nodes[graph->n_nodes - 1];
    ck_assert_int_eq(qd_shape_count(&graph->values[y].shape), 4 * 4 * 3);
    in[0] = (struct qd_view){QD_I64, &shape, numbers};
    out.shape = &graph->values[y].shape;
    out.data = qd_alloc(4 * 4 * 3 * sizeof(int64_t));
    run.scratch = qd_alloc(made->op->scratch_f32(graph, made));
    made->op->run_f32(made, in, &out, &run);
    for (int i = 0; i < 48; i++)
        ck_assert_int_eq(((const int64_t *)out.data)[i], numbers[i / 12 / 2 * 18 + i / 3 % 4 / 2 * 9 + i % 3 * 3]);
    qd_free(run.scratch);
    qd_free(out.data);
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_MAIN("window_ops", test_conv_ranks, test_conv_transpose_ranks, test_conv_transpose_q8, test_conv_transpose_line,
             test_pool_ranks, test_lp_pools, test_group_normalization, test_lp_normalization, test_global_max_pool_q8,
             test_depth_and_space_q8, test_ranks_run_in_float, test_resize_integers)
