/*
 * Scales cut apart in front of concatenations: where the pass puts a Requantize, when a calibration keeps two scales,
 * and that one between equal scales costs nothing and changes no byte.
 */
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "onnx/onnx.h"
#include "onnx/onnx.pb-c.h"
#include "pass/internal.h"
#include "quant/classes.h"
#include "quant/histogram.h"
#include "tests/unit/build_graph.h"

#define MAX_BATCH 3
#define STEPS 5 /* that rounding adds up to */

static const int64_t three[] = {3, 3}, same[] = {1, 1, 1, 1};

/* An exported node's attributes are read again. */
static struct qd_attr *kept(struct qd_attr attr, struct qd_attr attr2)
{
    struct qd_attr *attrs = qd_arena_array(&graph->arena, 2, sizeof(*attrs));

    attrs[0] = attr;
    attrs[1] = attr2;
    return attrs;
}

static int conv(const char *name, int x, int64_t n)
{
    struct qd_attr none = {0}, *attrs = kept(ints("pads", 4, same), none);
    int64_t c = graph->values[x].shape.dims[1];
    char text[32];
    int inputs[2] = {x};

    snprintf(text, sizeof(text), "%s.w", name);
    inputs[1] = constant(text, (struct qd_shape){4, {n, c, 3, 3}}, 1 / sqrtf((float)c));
    return node("Conv", name, inputs, 2, attrs, 1);
}

static int concat(const char *name, int n, const int *parts)
{
    struct qd_attr none = {0};

    return node("Concat", name, parts, n, kept(one("axis", 1), none), 1);
}

static int pool(const char *name, int x)
{
    return node("MaxPool", name, &x, 1, kept(ints("kernel_shape", 2, three), ints("pads", 4, same)), 2);
}

static int slice(const char *name, int x, int64_t begin_at, int64_t end_at)
{
    const int64_t at[] = {begin_at, end_at, 1};
    char text[3][32];
    int inputs[4] = {x};

    for (int i = 0; i < 3; i++) {
        snprintf(text[i], sizeof(text[i]), "%s.%d", name, i);
        inputs[i + 1] = integers(text[i], 1, &at[i]);
    }
    return node("Slice", name, inputs, 4, NULL, 0);
}

static void finish(int x)
{
    int inputs[2];

    inputs[0] = node1("Flatten", "flat", node1("GlobalAveragePool", "mean", x));
    inputs[1] = constant("classes", (struct qd_shape){2, {graph->values[x].shape.dims[1], 5}}, 1);
    end(node("Gemm", "y", inputs, 2, NULL, 0));
}

/* A block of a ShuffleNet, and a neck that joins it with what was made of it. */
static void build_shuffle(void)
{
    int x, parts[3];

    state = 1;
    begin(shape4(3, 8, 9));
    x = conv("features", graph->inputs[0], 8);
    parts[0] = slice("left", x, 0, 4);
    parts[1] = conv("branch", slice("right", x, 4, 8), 4);
    parts[0] = concat("block", 2, parts);
    parts[1] = pool("pool", parts[0]);
    parts[2] = conv("side", parts[0], 5);
    finish(conv("last", concat("neck", 3, parts), 6));
}

/* What convolutions make for one concatenation alone. */
static void build_inception(void)
{
    int x, parts[2];

    begin(shape4(3, 8, 9));
    x = conv("features", graph->inputs[0], 8);
    parts[0] = conv("a", x, 4);
    parts[1] = conv("b", x, 4);
    finish(conv("last", concat("all", 2, parts), 6));
}

/* What several concatenations read, each beginning with the one before it. */
static void build_dense(void)
{
    int parts[3];

    begin(shape4(3, 8, 9));
    parts[0] = pool("pool", conv("features", graph->inputs[0], 8));
    parts[1] = conv("f1", parts[0], 4);
    parts[2] = conv("f2", concat("c1", 2, parts), 4);
    finish(conv("last", concat("c2", 3, parts), 6));
}

/* A constant beside activations: that runs in float, where there is no scale to tie. */
static void build_constant(void)
{
    int x, parts[3];

    begin(shape4(3, 8, 9));
    x = conv("features", graph->inputs[0], 8);
    parts[0] = pool("pool", x);
    parts[1] = conv("side", x, 5);
    parts[2] = constant("grid", shape4(2, 8, 9), 1);
    finish(conv("last", concat("neck", 3, parts), 6));
}

static void build_given(void)
{
    build_shuffle();
    graph->values[qd_graph_find_value(graph, "pool")].given = true;
}

static void separate(void)
{
    ck_assert_ok(qd_pass_separate_scales(graph, &err), &err);
    ck_assert_ok(qd_graph_sort(graph, &err), &err);
    ck_assert_ok(qd_graph_verify(graph, &err), &err);
}

static const struct cut_case {
    void (*build)(void);
    const char *cut; /* the inputs of each Requantize, in order */
} cases[] = {
    {build_shuffle, "left block pool "},
    {build_inception, ""},
    {build_dense, ""},
    {build_constant, ""},
    {build_given, ""},
};

START_TEST(test_where)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(cases); i++) {
        char text[128] = "";

        cases[i].build();
        separate();
        for (int n = 0; n < graph->n_nodes; n++) {
            const struct qd_node *node = &graph->nodes[n];

            if (node->op != &qd_op_requantize)
                continue;
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", graph->values[node->inputs[0]].name);
            ck_assert_str_eq(qd_graph_only_user(graph, node->outputs[0])->op->name, "Concat");
        }
        ck_assert_str_eq(text, cases[i].cut);
        qd_graph_free(graph);
    }
}
END_TEST

/* Values spread evenly over 0 .. high. */
static void fill(struct qd_histogram *histogram, float high)
{
    float x[4096];

    for (size_t i = 0; i < QD_ARRAY_SIZE(x); i++)
        x[i] = high * (float)i / (float)QD_ARRAY_SIZE(x);
    ck_assert_ok(qd_histogram_add(histogram, x, QD_ARRAY_SIZE(x), &err), &err);
}

/* n tensors up to 1 on one side, as many as `others` up to high on the other. */
static bool pays(float high, int n, int others)
{
    struct qd_histogram histograms[2] = {0};
    struct qd_bin *bins[2];
    const struct qd_bin *lists[2][4];
    size_t n_bins[2][4];
    struct qd_cut cut = {.one = qd_qparams_of_range(0, fmaxf(1, high), 8)};
    bool found;

    for (int side = 0; side < 2; side++) {
        float most = side ? high : 1;

        fill(&histograms[side], most);
        ck_assert_ok(qd_histogram_bins(&histograms[side], &bins[side], &n_bins[side][0], &err), &err);
        for (int i = 0; i < (side ? others : n); i++) {
            lists[side][i] = bins[side];
            n_bins[side][i] = n_bins[side][0];
        }
        cut.side[side] = (struct qd_distribution){lists[side], n_bins[side], side ? others : n, 0, most, 4096};
        cut.q[side] = qd_qparams_of_range(0, most, 8);
    }
    cut.edge = cut.side[0];
    cut.edge.n_tensors = 1;
    found = qd_cut_pays(&cut);
    for (int side = 0; side < 2; side++) {
        qd_histogram_done(&histograms[side]);
        qd_free(bins[side]);
    }
    return found;
}

/* Two scales pay where the smaller tensors would lose by one, few or many of them. */
START_TEST(test_when)
{
    for (int n = 1; n <= 4; n++) {
        for (int others = 1; others <= 4; others++) {
            ck_assert(!pays(1, n, others));
            ck_assert(!pays(1.3f, n, others));
            ck_assert(!pays(1 / 1.3f, n, others));
            ck_assert(pays(8, n, others));
            ck_assert(pays(0.125f, n, others));
            ck_assert(!pays(0, n, others)); /* one that is 0 everywhere asks for nothing */
        }
    }
}
END_TEST

START_TEST(test_classes)
{
    int class_of[64], left, right, block, neck;

    build_shuffle();
    separate();
    ck_assert_int_le(graph->n_values, 64);
    qd_classes_find(graph, class_of);
    left = class_of[qd_graph_find_value(graph, "left")];
    right = class_of[qd_graph_find_value(graph, "right")];
    block = class_of[qd_graph_find_value(graph, "block")];
    neck = class_of[qd_graph_find_value(graph, "neck")];
    ck_assert_int_eq(left, right);
    ck_assert_int_ne(left, block);
    ck_assert_int_ne(block, neck);
    ck_assert_int_eq(class_of[qd_graph_find_value(graph, "pool")], block);
    ck_assert_int_eq(class_of[qd_graph_find_value(graph, "left.rescaled")], block);
    ck_assert_int_eq(class_of[qd_graph_find_value(graph, "pool.rescaled")], neck);
    ck_assert_int_eq(qd_classes_join(class_of, graph->n_values, right, qd_graph_find_value(graph, "left.rescaled")),
                     left);
    ck_assert_int_eq(class_of[qd_graph_find_value(graph, "pool")], left);
    ck_assert_int_eq(class_of[neck], neck);
    qd_graph_free(graph);
}
END_TEST

static void fill_input(struct qd_frame *frame, int image, int picture)
{
    for (int64_t j = 0; j < qd_shape_count(&graph->values[graph->inputs[0]].shape); j++)
        qd_frame_input(frame, image)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + picture * 77);
}

/* Scales of the build's own values, by their names: what is rescaled has `factor` times its input's, or the neck's. */
static void set_scales(float factor)
{
    for (int v = 0; v < graph->n_values; v++) {
        const char *name = graph->values[v].name;
        bool other = strcmp(name, "neck") == 0 || strcmp(name, "side") == 0 || strcmp(name, "block.rescaled") == 0 ||
                     strcmp(name, "pool.rescaled") == 0;

        if (graph->values[v].producer >= 0)
            graph->values[v].q = (struct qd_qparams){other ? 3 * factor : 3, 100, 8};
    }
}

/* The bytes of y, of every image: pictures from `first` on. */
static float *run(const struct qd_kernels *kernels, int n_threads, int first, int max_batch, int *ret_n_joined,
                  int *ret_n_steps)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_Q8, .max_batch = max_batch, .kernels = kernels};
    size_t n = (size_t)qd_shape_count(&graph->values[graph->outputs[0]].shape);
    float *found = qd_alloc_array(n * (size_t)max_batch, sizeof(float));
    struct qd_plan *plan;
    struct qd_frame *frame;

    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    ck_assert_int_eq(qd_plan_n_refused(plan), 0);
    ck_assert_ok(qd_frame_new(plan, n_threads, &frame, &err), &err);
    for (int image = 0; image < max_batch; image++)
        fill_input(frame, image, first + image);
    qd_frame_run(frame, max_batch, n_threads);
    for (int image = 0; image < max_batch; image++)
        memcpy(found + n * (size_t)image, qd_frame_output(frame, 0, image), n * sizeof(float));
    *ret_n_joined = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        *ret_n_joined += plan->joined[i];
    *ret_n_steps = qd_plan_n_steps(plan);
    qd_frame_free(frame);
    qd_plan_free(plan);
    return found;
}

/* Equal scales: as many steps and the same bytes as without a Requantize, both concatenations in place all the same. */
START_TEST(test_names_cost_nothing)
{
    float *want;
    int n_joined, n_joined_before, n_steps, n_steps_before;
    size_t size;

    build_shuffle();
    set_scales(1);
    size = (size_t)qd_shape_count(&graph->values[graph->outputs[0]].shape) * MAX_BATCH * sizeof(float);
    want = run(qd_kernels_of(QD_ISA_SCALAR), 1, 0, MAX_BATCH, &n_joined_before, &n_steps_before);
    ck_assert_int_eq(n_joined_before, 3); /* and Flatten */
    qd_graph_free(graph);
    build_shuffle();
    separate();
    set_scales(1);
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        for (int n_threads = 1; n_threads <= 2 && qd_kernels_of((enum qd_isa)isa); n_threads++) {
            float *found = run(qd_kernels_of((enum qd_isa)isa), n_threads, 0, MAX_BATCH, &n_joined, &n_steps);

            ck_assert_int_eq(n_joined, n_joined_before + 3);
            ck_assert_int_eq(n_steps, n_steps_before);
            ck_assert(memcmp(found, want, size) == 0);
            qd_free(found);
        }
    }
    qd_free(want);
    qd_graph_free(graph);
}
END_TEST

/*
 * In a QDQ file a concatenation of names that a float node reads has a pair behind it, as one of anything else, though
 * the plan has no step for either.
 */
START_TEST(test_names_in_qdq)
{
    struct qd_plan_options options = {
        .precision = QD_PRECISION_Q8, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR)};
    struct qd_plan *plan;
    struct qd_buf buf;
    Onnx__ModelProto *model;
    bool int8[64] = {false};
    int parts[2], x, n_pairs = 0;

    begin(shape4(3, 8, 9));
    x = conv("features", graph->inputs[0], 8);
    parts[0] = pool("pool", x);
    parts[1] = conv("side", x, 5);
    x = conv("last", concat("neck", 2, parts), 6);
    graph->nodes[graph->n_nodes - 1].precision = QD_PRECISION_F32;
    finish(x);
    separate();
    set_scales(1);
    ck_assert_int_ge(qd_graph_find_value(graph, "pool.rescaled"), 0);
    ck_assert_int_le(graph->n_nodes, 64);
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        struct qd_step_info info;

        qd_plan_step(plan, s, &info);
        if (info.node && info.kind == QD_STEP_Q8)
            int8[info.node - graph->nodes] = true;
    }
    qd_plan_free(plan);
    qd_buf_init(&buf, (size_t)1 << 20);
    ck_assert_ok(qd_onnx_save_qdq(graph, int8, &buf, &err), &err);
    model = onnx__model_proto__unpack(NULL, buf.size, buf.bytes);
    ck_assert_ptr_nonnull(model);
    for (size_t n = 0; n < model->graph->n_node; n++) {
        const Onnx__NodeProto *made = model->graph->node[n];

        ck_assert_str_ne(made->op_type, "Identity");
        n_pairs += strcmp(made->op_type, "QuantizeLinear") == 0 && strcmp(made->input[0], "neck") == 0;
    }
    ck_assert_int_eq(n_pairs, 1);
    onnx__model_proto__free_unpacked(model, NULL);
    qd_buf_done(&buf);
    qd_graph_free(graph);
}
END_TEST

/* A join that runs in float for a reason of its own: what is in front of it copies floats, and nothing is rounded. */
START_TEST(test_float_join)
{
    struct qd_plan_options options = {
        .precision = QD_PRECISION_Q8, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR)};
    struct qd_plan *plan;
    int n_copies = 0;

    build_shuffle();
    separate();
    set_scales(4);
    graph->nodes[graph->values[qd_graph_find_value(graph, "neck")].producer].precision = QD_PRECISION_F32;
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        struct qd_step_info info;

        qd_plan_step(plan, s, &info);
        if (!info.node || info.node->op != &qd_op_requantize)
            continue;
        n_copies++;
        ck_assert_int_eq(info.kind, QD_STEP_F32);
        ck_assert_str_eq(info.why_f32, "its readers take floats");
    }
    ck_assert_int_eq(n_copies, 2); /* block and pool; left is a name of bytes */
    ck_assert(!qd_plan_has_q8(plan, qd_graph_find_value(graph, "pool.rescaled")));
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

static struct qd_frame *new_run(enum qd_precision precision, struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {
        .precision = precision, .max_batch = MAX_BATCH, .kernels = qd_kernels_of(QD_ISA_SCALAR), .keep_all = true};
    struct qd_frame *frame;

    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, 1, &frame, &err), &err);
    for (int image = 0; image < MAX_BATCH; image++)
        fill_input(frame, image, image);
    qd_frame_run(frame, MAX_BATCH, 1);
    return frame;
}

/* From a float run: one scale for all that is tied, and one of twice the step beyond the Requantizes. */
static void set_two_scales(const struct qd_frame *f32)
{
    static const char *const beyond[] = {"neck", "side", "block.rescaled", "pool.rescaled"};

    scales_from(f32, MAX_BATCH);
    for (size_t i = 0; i < QD_ARRAY_SIZE(beyond); i++) {
        struct qd_qparams *q = &graph->values[qd_graph_find_value(graph, beyond[i])].q;

        *q = (struct qd_qparams){2 * q->scale, (q->zero_point + 1) / 2, 8};
    }
}

/* Every element of a picture, quantized, within some of its own steps of the float run's. */
static void check_picture(int v, const struct qd_frame *q8, const struct qd_frame *f32, int image, float steps)
{
    const struct qd_value *value = &graph->values[v];
    int64_t c = value->shape.dims[1], n = value->shape.dims[2] * value->shape.dims[3];
    uint8_t *bytes = qd_alloc_array((size_t)(n * c), 1);
    const float *want = qd_frame_value_f32(f32, v, image);

    ck_assert(qd_frame_copy_q8(q8, v, image, bytes));
    for (int64_t i = 0; i < n * c; i++) {
        float found = (float)(bytes[i % n * c + i / n] - value->q.zero_point) * value->q.scale;

        ck_assert_msg(fabsf(found - want[i]) <= steps * value->q.scale,
                      "%s, image %d, element %d: expected %g, found %g, a step is %g", value->name, image, (int)i,
                      (double)want[i], (double)found, (double)value->q.scale);
    }
    qd_free(bytes);
}

/*
 * Two scales: the neck is copied into, the block is in place still. Every value is what a float run has, and every tier
 * and batch gives each picture the bytes that it has alone.
 */
START_TEST(test_two_scales)
{
    struct qd_plan *f32_plan, *plan;
    struct qd_frame *f32, *kept;
    float *want[1 + MAX_BATCH];
    int n_joined, n_steps;
    size_t n;

    build_shuffle();
    separate();
    f32 = new_run(QD_PRECISION_F32, &f32_plan);
    set_two_scales(f32);
    kept = new_run(QD_PRECISION_Q8, &plan);
    n = (size_t)qd_shape_count(&graph->values[graph->outputs[0]].shape);
    for (int image = 0; image < MAX_BATCH; image++)
        for (int v = 0; v < graph->n_values; v++)
            if (graph->values[v].producer >= 0 && qd_value_is_picture(&graph->values[v]))
                check_picture(v, kept, f32, image, STEPS);
    for (int image = 0; image <= MAX_BATCH; image++) {
        want[image] = run(qd_kernels_of(QD_ISA_SCALAR), 1, image, 1, &n_joined, &n_steps);
        ck_assert_int_eq(n_joined, 4); /* left, both concatenations and Flatten */
        ck_assert(image == MAX_BATCH || memcmp(qd_frame_output(kept, 0, image), want[image], n * sizeof(float)) == 0);
        ck_assert(image == 0 || memcmp(want[image], want[0], n * sizeof(float)) != 0);
    }
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        for (int n_threads = 1; n_threads <= MAX_BATCH && qd_kernels_of((enum qd_isa)isa); n_threads++) {
            float *found = run(qd_kernels_of((enum qd_isa)isa), n_threads, 0, 1 + n_threads, &n_joined, &n_steps);

            for (int image = 0; image <= n_threads; image++)
                ck_assert(memcmp(found + n * (size_t)image, want[image], n * sizeof(float)) == 0);
            qd_free(found);
        }
    }
    for (int image = 0; image <= MAX_BATCH; image++)
        qd_free(want[image]);
    qd_frame_free(kept);
    qd_plan_free(plan);
    qd_frame_free(f32);
    qd_plan_free(f32_plan);
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_MAIN("separate scales", test_where, test_when, test_classes, test_names_cost_nothing, test_float_join,
             test_names_in_qdq, test_two_scales)
