/*
 * Float plans whose pictures lie in blocks of channels against plans in ONNX's order: every value and every output has
 * the same floats, on every tier, whatever the number of threads and images, memory shared or not.
 */
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "op/conv.h"
#include "pass/pass.h"
#include "tests/unit/layout_graphs.h"

#define IMAGES 3

static void relu(void)
{
    graph->nodes[graph->n_nodes - 1].act = (struct qd_activation){.kind = QD_ACT_CLIP, .min = 0, .max = 40};
}

/* The last node, a Conv, adds the value to its sums. */
static void fuse_residual(int value)
{
    struct qd_node *made = &graph->nodes[graph->n_nodes - 1];

    ck_assert_ok(qd_graph_set_input(graph, made, 3, value, &err), &err);
    made->residual = 3;
}

/*
 * Squeeze-and-excite, residuals as nodes and fused (in blocks, and to be turned round), joins of whole blocks, groups
 * of whole blocks, and readers that want planes.
 */
static void build_gated(void)
{
    int x = features(32), y = conv("expand", x, 35, 1, none), z, gate, parts[3];
    const int64_t axes[] = {0, 3, 2, 1};
    struct qd_attr perm = ints("perm", 4, axes);

    relu();
    y = depthwise("deep", y, 3, same, 1);
    gate = node1("Sigmoid", "gate", conv("squeeze", node1("GlobalAveragePool", "squeezed", y), 35, 1, none));
    y = conv("project", node("Mul", "scaled", (int[]){gate, y}, 2, NULL, 0), 32, 1, none);
    z = conv_of("groups", x, 32, 3, same, 1, 2);
    fuse_residual(x);
    relu();
    z = add("residual", y, z);
    relu();
    parts[0] = node("Mul", "product", (int[]){z, y}, 2, NULL, 0);
    parts[1] = conv_of("strided", z, 16, 3, same, 1, 1);
    parts[2] = pool("pool", z);
    z = conv_of("half", concat("all", 3, parts, 1), 20, 3, tensorflow, 2, 1);
    x = node("Transpose", "turned", &z, 1, &perm, 1);
    x = node("Transpose", "back", &x, 1, &perm, 1);
    y = conv("same", x, 20, 3, same);
    fuse_residual(x);
    finish(conv("last", y, 24, 3, uneven));
}

static const struct layout gated = {.name = "gated", .build = build_gated};

static struct qd_frame *new_frame(const struct qd_kernels *kernels, bool blocks, bool keep_all, int n_threads,
                                  struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {
        .precision = QD_PRECISION_F32, .max_batch = IMAGES, .kernels = kernels, .keep_all = keep_all, .blocks = blocks};
    struct qd_frame *frame;

    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, n_threads, &frame, &err), &err);
    for (int image = 0; image < IMAGES; image++)
        for (int64_t j = 0; j < qd_shape_count(&graph->values[graph->pixels].shape); j++)
            qd_frame_input(frame, image)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + image * 77);
    qd_frame_run(frame, IMAGES, n_threads);
    return frame;
}

static int count_blocks(const struct qd_plan *plan)
{
    int n = 0;

    for (int v = 0; v < graph->n_values; v++)
        n += plan->in_blocks[v];
    return n;
}

/* room: floats of the largest value. */
static void check_values(const char *name, const struct qd_plan *plan, const struct qd_frame *frame,
                         const struct qd_frame *want, float *room)
{
    for (int v = 0; v < graph->n_values; v++)
        for (int image = 0; image < IMAGES && graph->values[v].producer >= 0; image++) {
            const float *expected = qd_frame_value_f32(want, v, image);
            const float *found = qd_frame_read_f32(frame, v, image, room);

            ck_assert_msg(
                found && memcmp(found, expected, (size_t)qd_shape_count(&graph->values[v].shape) * sizeof(float)) == 0,
                "%s, image %d: '%s' differs", name, image, graph->values[v].name);
            ck_assert_msg((qd_frame_value_f32(frame, v, image) == NULL) == plan->in_blocks[v],
                          "%s: '%s' is read as planes", name, graph->values[v].name);
        }
}

static void check_graph(const struct layout *layout, int fewest)
{
    size_t size = 0, out;
    struct qd_plan *want_plan;
    struct qd_frame *want;
    float *room;

    layout->build();
    out = (size_t)qd_shape_count(&graph->values[graph->outputs[0]].shape) * sizeof(float);
    for (int v = 0; v < graph->n_values; v++)
        size = size > (size_t)qd_shape_count(&graph->values[v].shape) ? size
                                                                      : (size_t)qd_shape_count(&graph->values[v].shape);
    room = qd_alloc_array(size, sizeof(float));
    want = new_frame(qd_kernels_of(QD_ISA_SCALAR), false, true, 1, &want_plan);
    for (int isa = 0; isa < QD_N_ISA; isa++)
        for (int i = 0; i < 4 && qd_kernels_of((enum qd_isa)isa); i++) {
            struct qd_plan *plan;
            bool keep_all = i & 1;
            struct qd_frame *frame = new_frame(qd_kernels_of((enum qd_isa)isa), true, keep_all, i < 2 ? 1 : 2, &plan);

            ck_assert_int_ge(count_blocks(plan), fewest);
            if (keep_all)
                check_values(layout->name, plan, frame, want, room);
            for (int image = 0; image < IMAGES; image++)
                ck_assert_msg(memcmp(qd_frame_output(frame, 0, image), qd_frame_output(want, 0, image), out) == 0,
                              "%s, image %d: the output differs", layout->name, image);
            qd_frame_free(frame);
            qd_plan_free(plan);
        }
    qd_frame_free(want);
    qd_plan_free(want_plan);
    qd_free(room);
    qd_graph_free(graph);
}

START_TEST(test_blocks)
{
    if (_i < (int)QD_ARRAY_SIZE(layouts))
        check_graph(&layouts[_i], 0);
    else
        check_graph(&gated, 10);
}
END_TEST

QD_UNIT_LOOP_MAIN("blocks", test_blocks, QD_ARRAY_SIZE(layouts) + 1)
