/* The stages of adlq by themselves, on graphs and statistics that are made by hand. */
#include <string.h>

#include "quant/refine.h"
#include "tests/unit/build_graph.h"

#define N_IMAGES 4
#define PIXELS (8 * 8)

static struct qd_statistics statistics;

/* Scores per pixel, whose mean is the classes, or (last) what a last layer makes them of. */
static void build(bool last)
{
    int in[2], y;

    begin(shape4(3, 8, 8));
    in[0] = graph->inputs[0];
    in[1] = constant("w", (struct qd_shape){4, {6, 3, 1, 1}}, 1);
    in[0] = y = node1("Flatten", "flat", node1("GlobalAveragePool", "mean", node("Conv", "scores", in, 2, NULL, 0)));
    in[1] = constant("v", (struct qd_shape){2, {6, 6}}, 1);
    end(last ? node("Gemm", "last", in, 2, NULL, 0) : y);
}

/* Pictures that are dark but for a few pixels, which decide. */
static void draw(uint8_t *bytes, int image)
{
    for (int i = 0; i < 3 * PIXELS; i++)
        bytes[i] = (uint8_t)(i * 37 % 11);
    for (int i = 0; i < 9; i++)
        bytes[(i * 5 + image * 7) % 24] = 255;
}

static void add_layers(void)
{
    statistics.layers = qd_arena_array(&statistics.arena, (size_t)graph->n_nodes, sizeof(*statistics.layers));
    for (int n = 0; n < graph->n_nodes; n++) {
        struct qd_layer_statistics *l = &statistics.layers[statistics.n_layers];
        const struct qd_node *node = &graph->nodes[n];

        if (!node->op->layer)
            continue;
        ck_assert_ok(node->op->layer(graph, node, &statistics.arena, &l->layer, &err), &err);
        l->node = n;
        l->k = l->layer.c;
        l->n_samples = 1;
        l->squares = qd_arena_array(&statistics.arena, (size_t)l->k, sizeof(float));
        for (int i = 0; i < l->k; i++)
            l->squares[i] = 1;
        statistics.n_layers++;
    }
}

/* fp32 outputs of the pictures, and scales of the whole range, of the scores but for what is above a part of it. */
static void measure(float part)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_F32,
                                      .max_batch = N_IMAGES,
                                      .kernels = qd_kernels_of(QD_ISA_SCALAR),
                                      .keep_all = true};
    struct qd_plan *plan;
    struct qd_frame *frame;

    memset(&statistics, 0, sizeof(statistics));
    statistics.graph = graph;
    statistics.n_images = statistics.n_kept = N_IMAGES;
    statistics.inputs = qd_arena_array(&statistics.arena, N_IMAGES, sizeof(uint8_t *));
    statistics.outputs = qd_arena_array(&statistics.arena, N_IMAGES, sizeof(float *));
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, 1, &frame, &err), &err);
    for (int i = 0; i < N_IMAGES; i++) {
        statistics.inputs[i] = qd_arena_alloc(&statistics.arena, 3 * PIXELS);
        statistics.outputs[i] = qd_arena_array(&statistics.arena, 6, sizeof(float));
        draw(statistics.inputs[i], i);
        memcpy(qd_frame_input(frame, i), statistics.inputs[i], 3 * PIXELS);
    }
    qd_frame_run(frame, N_IMAGES, 1);
    scales_from(frame, N_IMAGES);
    for (int i = 0; i < N_IMAGES; i++)
        memcpy(statistics.outputs[i], qd_frame_output(frame, 0, i), 6 * sizeof(float));
    graph->values[qd_graph_find_value(graph, "scores")].q.scale *= part;
    qd_frame_free(frame);
    qd_plan_free(plan);
    add_layers();
}

static struct qd_scales *scales_of_graph(void)
{
    struct qd_scales *scales = qd_scales_new();

    scales->values = qd_arena_array(&scales->arena, (size_t)graph->n_values, sizeof(*scales->values));
    for (int v = 0; v < graph->n_values; v++)
        if (graph->values[v].producer >= 0)
            scales->values[scales->n_values++] = (struct qd_value_scale){
                .name = qd_arena_strdup(&scales->arena, graph->values[v].name), .q = graph->values[v].q};
    ck_assert_ok(qd_scales_list_layers(scales, graph, 8, &err), &err);
    ck_assert_ok(qd_scales_apply(scales, graph, &err), &err);
    return scales;
}

/* The stage alone; returns by what the scores' scale has grown. */
static double widened(bool last, float part, bool power_of_two, struct qd_stage_report *ret)
{
    const struct qd_calibration_form form = {
        .activation_bits = 8, .weight_bits = 8, .multiplier_bits = 24, .power_of_two = power_of_two};
    struct qd_refinement r = {.graph = graph, .statistics = &statistics, .form = &form, .n_threads = 1};
    float before;
    double times;
    unsigned stage;

    build(last);
    measure(part);
    r.graph = graph;
    r.kernels = qd_kernels_of(QD_ISA_SCALAR);
    r.scales = scales_of_graph();
    before = graph->values[qd_graph_find_value(graph, "scores")].q.scale;
    ck_assert_ok(qd_stages_named("class scale", &stage, &err), &err);
    r.skipped_stages = ~stage;
    ck_assert_ok(qd_refine(&r, &err), &err);
    ck_assert_int_eq(r.scales->n_stages, 1);
    *ret = r.scales->stages[0];
    times = (double)(graph->values[qd_graph_find_value(graph, "scores")].q.scale / before);
    qd_scales_free(r.scales);
    qd_arena_done(&statistics.arena);
    qd_graph_free(graph);
    return times;
}

/* Bright pixels are few, and the classes are their mean: clipped by half they decide no longer. */
START_TEST(test_class_scale)
{
    struct qd_stage_report stage;
    double times = widened(false, 0.5f, false, &stage);

    ck_assert_double_ge(times, 1.4);
    ck_assert_msg(strstr(stage.text, "scale of 'scores' times ") != NULL, "%s", stage.text);
    ck_assert(stage.kept && stage.after_db[0] > stage.before_db[0] && stage.after_db[1] > stage.before_db[1]);
    ck_assert_double_eq(widened(false, 0.5f, true, &stage), 2);
}
END_TEST

START_TEST(test_class_scale_stays)
{
    struct qd_stage_report stage;

    ck_assert_double_eq(widened(false, 8, false, &stage), 1); /* nothing is clipped, all is coarse */
    ck_assert_double_eq(stage.before_db[0], stage.after_db[0]);
    ck_assert_double_eq(widened(true, 0.5f, false, &stage), 1); /* a layer makes the classes, as floats */
    ck_assert_str_eq(stage.text, "no bytes that classes are means of");
}
END_TEST

START_TEST(test_names)
{
    static const struct {
        const char *list;
        unsigned bits;
    } good[] = {{"weights", 1}, {"bias correction,global", 0x30}, {"global,bias correction,global", 0x30}};
    static const char *const bad[] = {"", "bias", "weights,", "weights, global", "biascorrection"};
    unsigned bits;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_ok(qd_stages_named(good[i].list, &bits, &err), &err);
        ck_assert_uint_eq(bits, good[i].bits);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct qd_error why = {""};

        ck_assert_int_eq(qd_stages_named(bad[i], &bits, &why), QD_INVALID);
        ck_assert_msg(strstr(why.text, "expected some of weights, channel steps, ") != NULL, "%s", why.text);
    }
    ck_assert_str_eq(qd_stage_name(6), "class scale");
    ck_assert_ptr_null(qd_stage_name(7));
}
END_TEST

QD_UNIT_MAIN("refine", test_class_scale, test_class_scale_stays, test_names)
