/*
 * Products of rows with a constant matrix, and tensors of rank 4 that are no pictures: by hand in float, int8 within a
 * stated number of steps of it, the same bytes for every tier, number of threads and batch.
 */
#include <stdio.h>

#include "onnx/onnx.h"
#include "op/op.h"
#include "op/ops.h"
#include "pass/pass.h"
#include "quant/statistics.h"
#include "tests/op/check_q8.h"

#define C 40

static const int64_t to_rows[] = {0, 2, 3, 1}, to_picture[] = {0, 3, 1, 2}, swap_last[] = {0, 2, 1};

static int transpose(const char *out, int x, const int64_t *perm, int n)
{
    struct qd_attr *attr = qd_arena_alloc(&graph->arena, sizeof(*attr)); /* the node keeps it */

    *attr = ints("perm", n, perm);
    return node("Transpose", out, &x, 1, attr, 1);
}

static int two(const char *op_name, const char *out, int a, int b)
{
    return node(op_name, out, (int[]){a, b}, 2, NULL, 0);
}

static int reshape(const char *out, int x, int n, const int64_t *dims)
{
    char name[32];

    snprintf(name, sizeof(name), "%s.dims", out);
    return two("Reshape", out, x, integers(name, n, dims));
}

/* x [.., k] times a matrix [k, n], plus a row where bias says so. */
static int linear(const char *out, int x, int64_t k, int64_t n, bool bias)
{
    char names[3][32];
    int y;

    for (int i = 0; i < 3; i++)
        snprintf(names[i], sizeof(names[i]), "%s.%d", out, i);
    y = two("MatMul", bias ? names[2] : out, x, constant(names[0], (struct qd_shape){2, {k, n}}, 0.3f));
    return bias ? two("Add", out, y, constant(names[1], (struct qd_shape){1, {n}}, 1)) : y;
}

static void finish(int y)
{
    end(y);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
}

static int count(const struct qd_op *op)
{
    int n_found = 0;

    for (int n = 0; n < graph->n_nodes; n++)
        n_found += graph->nodes[n].op == op;
    return n_found;
}

static void fill(const char *name, const float *values)
{
    const struct qd_value *value = &graph->values[qd_graph_find_value(graph, name)];

    memcpy((float *)(uintptr_t)value->data, values, (size_t)qd_shape_count(&value->shape) * sizeof(float));
}

/* Two pixels (1, 2) and (3, 4), a bias, a scale per channel behind the Transpose, and the pixels' own sum twice over.
 */
START_TEST(test_by_hand)
{
    static const float matrix[] = {1, 0, 2, 0, 1, -1}, bias[] = {10, 20, 30}, scales[] = {1, 2, -1};
    static const float ones[] = {1, 1, 1, 1, 1, 1}, want[] = {11 + 3, 13 + 7, 44 + 3, 48 + 7, -30 + 3, -32 + 7};
    struct qd_plan_options options = {
        .precision = QD_PRECISION_F32, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR)};
    struct qd_plan *plan;
    struct qd_frame *frame;
    int x, y, sums;

    begin(shape4(2, 1, 2));
    x = graph->inputs[0];
    sums = two("Conv", "sums", x, constant("ones", (struct qd_shape){4, {3, 2, 1, 1}}, 1));
    y = transpose("t1", linear("l", transpose("t0", x, to_rows, 4), 2, 3, true), to_picture, 4);
    y = two("Mul", "m", y, constant("scales", (struct qd_shape){3, {3, 1, 1}}, 1));
    y = two("Add", "y", y, sums);
    fill("ones", ones);
    fill("l.0", matrix);
    fill("l.1", bias);
    fill("scales", scales);
    finish(y);
    ck_assert_int_eq(count(&qd_op_linear), 1);
    ck_assert_int_eq(count(&qd_op_mul) + count(&qd_op_add) + count(&qd_op_mat_mul), 0);
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, 1, &frame, &err), &err);
    memcpy(qd_frame_input(frame, 0), (uint8_t[]){1, 2, 3, 4}, 4);
    qd_frame_run(frame, 1, 1);
    for (int i = 0; i < 6; i++)
        ck_assert_float_eq(qd_frame_output(frame, 0, 0)[i], want[i]);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
}
END_TEST

/* What a network of that kind has behind a LayerNormalization: rows of rank 4, Gelu, and the picture added again. */
static int block(int x)
{
    int y = transpose("rows", x, to_rows, 4);

    y = node1("Gelu", "gelu", linear("wide", y, C, 2 * C, true));
    y = transpose("picture", linear("narrow", y, 2 * C, C, true), to_picture, 4);
    y = two("Mul", "scaled", y, constant("scale", (struct qd_shape){3, {C, 1, 1}}, 1));
    return two("Add", "sum", y, x);
}

START_TEST(test_block)
{
    finish(block(start_features(C)));
    ck_assert_int_eq(count(&qd_op_linear), 2);
    ck_assert_int_eq(count(&qd_op_add), 0);
    check_q8(3);
}
END_TEST

/* Around a picture that lies where the rows do, or where a picture of another name does. */
START_TEST(test_padding)
{
    static const int64_t pads[] = {1, 1, 1, 1}, same[] = {0, 1, 2, 3};
    struct qd_attr attrs[] = {ints("pads", 4, pads), one("group", C)};
    int x = block(start_features(C));

    finish(node("Conv", "y", (int[]){x, constant("w", (struct qd_shape){4, {C, 1, 3, 3}}, 1)}, 2, attrs, 2));
    check_q8(6);
    x = transpose("again", start_features(C), same, 4);
    x = node("Conv", "padded", (int[]){x, constant("w", (struct qd_shape){4, {C, 1, 3, 3}}, 1)}, 2, attrs, 2);
    finish(two("Add", "y", x, qd_graph_find_value(graph, "again")));
    check_q8(3);
}
END_TEST

/* Rows of rank 2 (Gemm), 3 and 5, and of several matrices of rank 4; the last layer leaves floats. */
START_TEST(test_ranks)
{
    static const int64_t flat[] = {1, C, 72}, matrix[] = {72, C}, five[] = {1, 2, 4, 9, C}, several[] = {8, 3, 3, C};
    struct qd_attr transposed = one("transB", 1);
    int x = transpose("rows", reshape("flat", start_features(C), 3, flat), swap_last, 3);

    finish(linear("y", x, C, 21, false));
    check_q8(4);
    x = transpose("rows", reshape("flat", start_features(C), 3, flat), swap_last, 3);
    x = node1("Relu", "five.relu", linear("five.l", reshape("five", x, 5, five), C, 70, true));
    finish(linear("y", x, 70, 6, true));
    check_q8(6);
    x = transpose("rows", reshape("flat", start_features(C), 3, flat), swap_last, 3);
    x = node1("Relu", "relu", linear("several.l", reshape("several", x, 4, several), C, 24, true));
    finish(linear("y", x, 24, 6, true));
    check_q8(6);
    x = transpose("rows", reshape("flat", start_features(C), 3, flat), swap_last, 3);
    x = node("Gemm", "gemm",
             (int[]){reshape("matrix", x, 2, matrix), constant("b", (struct qd_shape){2, {24, C}}, 0.3f),
                     constant("c", (struct qd_shape){1, {24}}, 1)},
             3, &transposed, 1);
    finish(node1("Relu", "y", x));
    check_q8(3);
}
END_TEST

/* Operators that do not care how rank 4 lies, between products. */
START_TEST(test_between)
{
    static const int64_t starts[] = {3}, ends[] = {8}, axes[] = {1};
    struct qd_attr axis = one("axis", 1);
    int x = linear("l", transpose("rows", start_features(C), to_rows, 4), C, C, true), in[4], y;

    in[0] = x;
    in[1] = integers("starts", 1, starts);
    in[2] = integers("ends", 1, ends);
    in[3] = integers("axes", 1, axes);
    y = node("Slice", "tail", in, 4, NULL, 0);
    y = node("Concat", "rolled", (int[]){y, x}, 2, &axis, 1);
    y = node1("Sigmoid", "s", y);
    y = two("Add", "doubled", y, y);
    y = two("Mul", "by channel", y, constant("m", (struct qd_shape){1, {C}}, 1));
    y = linear("y", y, C, 8, true);
    finish(y);
    for (int n = 0; n < graph->n_nodes; n++)
        ck_assert(!graph->values[graph->nodes[n].outputs[0]].rows == (graph->nodes[n].op == &qd_op_conv));
    check_q8(12);
}
END_TEST

/* A convolution reads what MatMul reads: it stays a picture, and MatMul in float. */
START_TEST(test_pictures_stay)
{
    struct qd_plan_options options = {
        .precision = QD_PRECISION_Q8, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR)};
    int x = start_features(9), y, w = constant("w", (struct qd_shape){4, {9, 9, 1, 1}}, 1);
    struct qd_step_info info;
    struct qd_plan *plan, *f32;
    struct qd_frame *frame;
    int n_f32 = 0;

    y = two("Conv", "c", linear("l", x, 9, 9, false), w);
    finish(two("Add", "y", y, y));
    ck_assert(!graph->values[qd_graph_find_value(graph, "l")].rows);
    frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &f32);
    scales_from(frame, 2);
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    for (int s = 0; s < qd_plan_n_steps(plan); s++) {
        qd_plan_step(plan, s, &info);
        n_f32 += info.kind == QD_STEP_F32;
        ck_assert(info.kind != QD_STEP_F32 || info.node->op == &qd_op_mat_mul);
    }
    ck_assert_int_eq(n_f32, 1);
    qd_plan_free(plan);
    qd_frame_free(frame);
    qd_plan_free(f32);
    qd_graph_free(graph);
}
END_TEST

/* What a calibration draws of a layer of rows: pixel 2 of 3, of 2 channels in and 4 out. */
START_TEST(test_samples)
{
    static const float in[] = {1, 2, 3, 4, 5, 6}, out[] = {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23};
    struct qd_layer_statistics l = {
        .layer = {.group = 1, .c = 2, .h = 1, .w = 3, .out_h = 1, .out_w = 3, .n = 4, .rows = true}};
    float row[2];

    qd_sample_row(&l, in, 2, 0, row);
    ck_assert(row[0] == 5 && row[1] == 6);
    ck_assert_float_eq(qd_sample_output(&l, out, 2, 1), 21);
    l.layer.rows = false;
    ck_assert_float_eq(qd_sample_output(&l, out, 2, 1), 11);
}
END_TEST

/* In a QDQ file a product of rank 3 gets its bias, which a calibration may have found, by an Add; a matrix by a Gemm.
 */
START_TEST(test_written)
{
    static const int64_t flat[] = {1, C, 72}, matrix[] = {72, C};
    static const char *const expected[] = {"MatMul", "Gemm"};

    for (int rank = 2; rank <= 3; rank++) {
        struct qd_onnx_options options = {0};
        struct qd_layer_weights weights = {.bits = 8};
        int x = transpose("rows", reshape("flat", start_features(C), 3, flat), swap_last, 3), n_found = 0;
        float bias[6] = {0, 1, 2, 3, 4, 5};
        struct qd_plan *plan;
        struct qd_frame *f32;
        struct qd_graph *back;
        struct qd_buf buf;
        bool *int8;

        x = linear("y", rank == 2 ? reshape("matrix", x, 2, matrix) : x, C, 6, false);
        end(x);
        ck_assert_ok(qd_passes_run_standard(graph, &err), &err);
        f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
        scales_from(f32, 2);
        qd_frame_free(f32);
        qd_plan_free(plan);
        weights.bias = bias;
        int8 = qd_alloc_array((size_t)graph->n_nodes, sizeof(bool));
        for (int n = 0; n < graph->n_nodes; n++) {
            int8[n] = true;
            if (graph->nodes[n].op == &qd_op_mat_mul)
                graph->nodes[n].layer_weights = &weights;
        }
        qd_buf_init(&buf, (size_t)1 << 20);
        ck_assert_ok(qd_onnx_save_qdq(graph, int8, &buf, &err), &err);
        ck_assert_ok(qd_onnx_load(buf.bytes, buf.size, &options, &back, &err), &err);
        for (int n = 0; n < back->n_nodes; n++) {
            const struct qd_node *made = &back->nodes[n];

            n_found += made->op == qd_op_find(expected[rank == 2]) || (rank == 3 && made->op == &qd_op_add);
        }
        ck_assert_int_eq(n_found, rank - 1);
        ck_assert(qd_shape_equal(&back->values[back->outputs[0]].shape, &graph->values[graph->outputs[0]].shape));
        qd_graph_free(back);
        qd_graph_free(graph);
        qd_buf_done(&buf);
        qd_free(int8);
    }
}
END_TEST

#define BATCH 5

static void fill_pictures(struct qd_frame *frame, int first, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < 3 * 8 * 9; j++)
            qd_frame_input(frame, i)[j] = (uint8_t)(j * 31 + (first + i) * 57 + j % 7 * (first + i));
}

/* With a LayerNormalization, in memory that values share: alone and in batches, the same. */
START_TEST(test_same_bytes)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_Q8, .max_batch = BATCH, .kernels = NULL};
    struct qd_plan *plan, *f32;
    struct qd_frame *frame;
    int x = start_features(C), count_y;
    float alone[BATCH][C * 72];

    x = transpose("n", x, to_rows, 4);
    x = node("LayerNormalization", "norm",
             (int[]){x, constant("g", (struct qd_shape){1, {C}}, 2), constant("b", (struct qd_shape){1, {C}}, 1)}, 3,
             NULL, 0);
    x = transpose("p", x, to_picture, 4);
    x = two("Conv", "down", x, constant("w", (struct qd_shape){4, {C, C, 1, 1}}, 1));
    finish(block(x));
    frame = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &f32);
    scales_from(frame, 2);
    qd_frame_free(frame);
    qd_plan_free(f32);
    count_y = (int)qd_shape_count(&graph->values[graph->outputs[0]].shape);
    ck_assert_int_eq(count_y, C * 72);
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        options.kernels = qd_kernels_of((enum qd_isa)isa);
        if (!options.kernels)
            continue;
        ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
        ck_assert_ok(qd_frame_new(plan, 3, &frame, &err), &err);
        for (int i = 0; i < BATCH && isa == QD_ISA_SCALAR; i++) {
            fill_pictures(frame, i, 1);
            qd_frame_run(frame, 1, 1);
            memcpy(alone[i], qd_frame_output(frame, 0, 0), sizeof(alone[i]));
        }
        for (int threads = 1; threads <= 3; threads++) {
            fill_pictures(frame, 0, BATCH);
            qd_frame_run(frame, BATCH, threads);
            for (int i = 0; i < BATCH; i++)
                ck_assert_mem_eq(alone[i], qd_frame_output(frame, 0, i), sizeof(alone[i]));
        }
        qd_frame_free(frame);
        qd_plan_free(plan);
    }
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_MAIN("rows", test_by_hand, test_block, test_padding, test_ranks, test_between, test_pictures_stay, test_samples,
             test_written, test_same_bytes)
