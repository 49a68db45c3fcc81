/* A plan in order: its steps one by one are a run, and what a calibration changes between them takes effect. */
#include <string.h>

#include "engine/internal.h"
#include "tests/unit/build_graph.h"

#define N_IMAGES 3
#define PIXELS (12 * 13)

static float no_bias[24];

/* Anew for each run: an input shares its memory with what comes later. */
static void write_input(struct qd_frame *frame)
{
    for (int i = 0; i < N_IMAGES; i++)
        for (int j = 0; j < 3 * PIXELS; j++)
            qd_frame_input(frame, i)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + i * 5);
}

static struct qd_frame *new_frame(bool in_order, bool keep_all, enum qd_precision precision, struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {.precision = precision,
                                      .max_batch = N_IMAGES,
                                      .kernels = qd_kernels_of(QD_ISA_SCALAR),
                                      .keep_all = keep_all,
                                      .in_order = in_order};
    struct qd_frame *frame;

    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, 2, &frame, &err), &err);
    write_input(frame);
    return frame;
}

/* Padding in place and in a copy, a residual, a concatenation, a node in float, a Gemm that leaves floats. */
static void build(void)
{
    static const int64_t same[] = {1, 1, 1, 1};
    struct qd_attr pads = ints("pads", 4, same), depthwise[] = {pads, one("group", 16)}, axis = one("axis", 1);
    int in[3], a, b, parts[2];
    struct qd_plan *plan;
    struct qd_frame *f32;

    begin(shape4(3, 12, 13));
    in[0] = graph->inputs[0];
    in[1] = constant("w0", (struct qd_shape){4, {16, 3, 3, 3}}, 0.02f);
    in[0] = a = node("Conv", "a", in, 2, &pads, 1);
    in[1] = constant("w1", (struct qd_shape){4, {16, 1, 3, 3}}, 1);
    b = node("Conv", "b", in, 2, depthwise, 2);
    in[0] = b;
    in[1] = constant("w2", (struct qd_shape){4, {16, 16, 1, 1}}, 1);
    in[2] = constant("b2", (struct qd_shape){1, {16}}, 1);
    in[0] = b = node("Conv", "c", in, 3, NULL, 0);
    ck_assert_ok(qd_graph_set_input(graph, &graph->nodes[2], 3, a, &err), &err);
    graph->nodes[2].residual = 3;
    parts[0] = a;
    parts[1] = b;
    in[0] = node("Concat", "d", parts, 2, &axis, 1);
    in[0] = node1("Softplus", "e", in[0]);
    in[1] = constant("w3", (struct qd_shape){4, {24, 32, 3, 3}}, 0.2f);
    in[2] = constant("b3", (struct qd_shape){1, {24}}, 1);
    in[0] = node("Conv", "f", in, 3, &pads, 1);
    in[0] = node1("Flatten", "h", node1("GlobalAveragePool", "g", in[0]));
    in[1] = constant("w4", (struct qd_shape){2, {24, 10}}, 1);
    end(node("Gemm", "y", in, 2, NULL, 0));
    f32 = new_frame(false, true, QD_PRECISION_F32, &plan);
    qd_frame_run(f32, N_IMAGES, 1);
    scales_from(f32, N_IMAGES);
    qd_frame_free(f32);
    qd_plan_free(plan);
}

static void check_outputs(const struct qd_frame *a, const struct qd_frame *b)
{
    for (int i = 0; i < N_IMAGES; i++)
        ck_assert_mem_eq(qd_frame_output(a, 0, i), qd_frame_output(b, 0, i), 10 * sizeof(float));
}

/* A step's inputs, and afterwards its output, are what a frame that kept all has of them. */
static void check_step(const struct qd_plan *plan, const struct qd_frame *frame, const struct qd_frame *kept, int s,
                       bool after)
{
    struct qd_step_info info;
    static uint8_t found[32 * PIXELS], want[32 * PIXELS];

    qd_plan_step(plan, s, &info);
    for (int image = 0; image < N_IMAGES; image++) {
        for (int i = 0; !after && info.kind == QD_STEP_Q8 && i < info.node->n_inputs; i++) {
            int value = info.node->inputs[i];

            if (!qd_frame_copy_step_input(frame, s, i, image, found)) {
                ck_assert(value == QD_NO_VALUE || graph->values[value].data);
                continue;
            }
            ck_assert(qd_frame_copy_q8(kept, value, image, want));
            ck_assert_mem_eq(found, want, (size_t)qd_shape_count(&graph->values[value].shape));
        }
        if (!after)
            continue;
        if (qd_frame_copy_step_output(frame, s, image, found)) {
            ck_assert_ptr_null(qd_frame_step_output_f32(frame, s, image));
            ck_assert(qd_frame_copy_q8(kept, info.value, image, want));
            ck_assert_mem_eq(found, want, (size_t)qd_shape_count(&graph->values[info.value].shape));
        } else {
            ck_assert_mem_eq(qd_frame_step_output_f32(frame, s, image), qd_frame_value_f32(kept, info.value, image),
                             (size_t)qd_shape_count(&graph->values[info.value].shape) * sizeof(float));
        }
    }
}

START_TEST(test_steps)
{
    struct qd_plan *plan, *usual_plan, *kept_plan;
    struct qd_frame *frame, *usual, *kept;

    build();
    frame = new_frame(true, false, QD_PRECISION_Q8, &plan);
    usual = new_frame(false, false, QD_PRECISION_Q8, &usual_plan);
    kept = new_frame(false, true, QD_PRECISION_Q8, &kept_plan);
    ck_assert_int_gt(usual_plan->depth_steps, 1);
    ck_assert_int_eq(plan->depth_steps, 0);
    qd_frame_run(usual, N_IMAGES, 2);
    qd_frame_run(kept, N_IMAGES, 2);
    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        check_step(plan, frame, kept, s, false);
        qd_frame_run_step(frame, s, N_IMAGES, 2);
        check_step(plan, frame, kept, s, true);
    }
    check_outputs(frame, usual);
    write_input(frame);
    qd_frame_run(frame, N_IMAGES, 2);
    check_outputs(frame, kept);
    qd_frame_free(frame);
    qd_frame_free(usual);
    qd_frame_free(kept);
    qd_plan_free(plan);
    qd_plan_free(usual_plan);
    qd_plan_free(kept_plan);
    qd_graph_free(graph);
}
END_TEST

/* Runs the steps one by one, each prepared anew before; then a plan that was made with all changes gives the same. */
static void check_again(struct qd_plan *plan, struct qd_frame *frame)
{
    struct qd_plan *fresh_plan;
    struct qd_frame *fresh = new_frame(false, false, QD_PRECISION_Q8, &fresh_plan);

    write_input(frame);
    qd_frame_run(fresh, N_IMAGES, 1);
    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        struct qd_step_info info;

        qd_plan_step(plan, s, &info);
        if (info.kind == QD_STEP_Q8) {
            size_t bytes;

            ck_assert_ok(qd_plan_prepare_again(plan, s, &err), &err);
            bytes = qd_plan_memory_bytes(plan);
            ck_assert_ok(qd_plan_prepare_again(plan, s, &err), &err);
            ck_assert_uint_eq(qd_plan_memory_bytes(plan), bytes);
        } else {
            ck_assert_int_eq(qd_plan_prepare_again(plan, s, &err), QD_INVALID);
        }
        qd_frame_run_step(frame, s, N_IMAGES, 2);
    }
    check_outputs(frame, fresh);
    qd_frame_free(fresh);
    qd_plan_free(fresh_plan);
}

START_TEST(test_prepare_again)
{
    struct qd_layer_weights weights = {.bits = 5, .bias = no_bias};
    struct qd_node *conv;
    struct qd_value *f;
    struct qd_plan *plan;
    struct qd_frame *frame;
    float before[10], scale;
    int step = 0;

    build();
    frame = new_frame(true, false, QD_PRECISION_Q8, &plan);
    qd_frame_run(frame, N_IMAGES, 1);
    memcpy(before, qd_frame_output(frame, 0, 1), sizeof(before));
    conv = &graph->nodes[graph->values[qd_graph_find_value(graph, "f")].producer];
    conv->layer_weights = &weights;
    check_again(plan, frame);
    ck_assert_mem_ne(before, qd_frame_output(frame, 0, 1), sizeof(before));
    /* Another zero point, also of what convolutions pad. */
    for (int v = 0; v < graph->n_values; v++)
        if (graph->values[v].q.scale > 0)
            graph->values[v].q.zero_point = (graph->values[v].q.zero_point + 7) % 200;
    check_again(plan, frame);
    /* What is refused leaves the step as it was. */
    memcpy(before, qd_frame_output(frame, 0, 1), sizeof(before));
    while (plan->steps[step].node != (int)(conv - graph->nodes))
        step++;
    f = &graph->values[conv->outputs[0]];
    scale = f->q.scale;
    for (int turn = 0; turn < 2; turn++) {
        f->q.scale = turn ? 0 : scale * 0x1p-40f;
        ck_assert_int_eq(qd_plan_prepare_again(plan, step, &err), QD_UNSUPPORTED);
        err.text[0] = '\0';
    }
    f->q.scale = scale;
    qd_frame_run_step(frame, step, N_IMAGES, 1);
    for (int s = step + 1; s < qd_plan_n_steps(plan); s++)
        qd_frame_run_step(frame, s, N_IMAGES, 1);
    ck_assert_mem_eq(before, qd_frame_output(frame, 0, 1), sizeof(before));
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_MAIN("in_order", test_steps, test_prepare_again)
