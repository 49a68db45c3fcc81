/* Quantized graphs in quantd's own form: the file's integers and levels, and rounding where the file rounds. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "onnx/onnx.h"
#include "op/ops.h"
#include "pass/pass.h"
#include "tests/unit/build_graph.h"

#define SCALE 0.05f

static int number(const char *name, float value)
{
    int index;

    ck_assert_ok(qd_graph_add_constant(graph, name, QD_F32, &(struct qd_shape){0}, &value, &index, NULL, &err), &err);
    return index;
}

static int zero(const char *name, enum qd_dtype dtype, int value)
{
    uint8_t byte = (uint8_t)value;
    int index;

    ck_assert_ok(qd_graph_add_constant(graph, name, dtype, &(struct qd_shape){0}, &byte, &index, NULL, &err), &err);
    return index;
}

static int quantize(const char *out, int x, int scale, int at)
{
    return node("QuantizeLinear", out, (int[]){x, scale, at}, 3, NULL, 0);
}

static int dequantize(const char *out, int x, int scale, int at)
{
    return node("DequantizeLinear", out, (int[]){x, scale, at}, 3, NULL, 0);
}

/* x through both, by names that end in the tag. */
static int pair(const char *tag, int x, float scale, enum qd_dtype dtype, int at)
{
    char names[4][32];
    int s, z;

    for (int i = 0; i < 4; i++)
        snprintf(names[i], sizeof(names[i]), "%c_%s", "szqd"[i], tag);
    s = number(names[0], scale);
    z = zero(names[1], dtype, at);
    return dequantize(names[3], quantize(names[2], x, s, z), s, z);
}

/* [2][c] weights as a DequantizeLinear of 1 x 1 kernels, a scale for each of the two. */
static int weights(const char *name, const int8_t *q, int64_t c, const float *scale, const int8_t *at)
{
    const struct qd_shape shape = {4, {2, c, 1, 1}}, two = {1, {2}};
    struct qd_attr axis = one("axis", 0);
    char names[4][32];
    int inputs[3];

    for (int i = 0; i < 4; i++)
        snprintf(names[i], sizeof(names[i]), "%s%d", name, i);
    ck_assert_ok(qd_graph_add_constant(graph, names[0], QD_S8, &shape, q, &inputs[0], NULL, &err), &err);
    ck_assert_ok(qd_graph_add_constant(graph, names[1], QD_F32, &two, scale, &inputs[1], NULL, &err), &err);
    ck_assert_ok(qd_graph_add_constant(graph, names[2], QD_S8, &two, at, &inputs[2], NULL, &err), &err);
    return node("DequantizeLinear", names[3], inputs, 3, &axis, 1);
}

static const int8_t q2[] = {1, -127, 90, 4, 5, -6}, none[] = {0, 0};
static const float scales2[] = {0.5f, 0.25f};

static int conv(const char *out, int x, const char *name)
{
    return node("Conv", out, (int[]){x, weights(name, q2, 3, scales2, none)}, 2, NULL, 0);
}

static void finish(int y)
{
    end(y);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
}

static const struct qd_node *only(const struct qd_op *op)
{
    const struct qd_node *found = NULL;

    for (int n = 0; n < graph->n_nodes; n++) {
        if (graph->nodes[n].op != op)
            continue;
        ck_assert_ptr_null(found);
        found = &graph->nodes[n];
    }
    return found;
}

static int count(const struct qd_op *op)
{
    int n_found = 0;

    for (int n = 0; n < graph->n_nodes; n++)
        n_found += graph->nodes[n].op == op;
    return n_found;
}

/* Both plans over the same pictures: what the file means in floats, and bytes. Outputs differ by a level at most. */
static void check_plans(float level)
{
    struct qd_plan_options options = {.max_batch = 1};
    struct qd_plan *plans[2];
    struct qd_frame *frames[2];

    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    for (int p = 0; p < 2; p++) {
        options.precision = p ? QD_PRECISION_Q8 : QD_PRECISION_F32;
        ck_assert_ok(qd_plan_new(graph, &options, &plans[p], &err), &err);
        ck_assert_ok(qd_frame_new(plans[p], 1, &frames[p], &err), &err);
        for (int i = 0; i < 3 * 4 * 5; i++)
            qd_frame_input(frames[p], 0)[i] = (uint8_t)(i * 37);
        qd_frame_run(frames[p], 1, 1);
    }
    for (int64_t i = 0; i < qd_plan_output_count(plans[0], 0); i++)
        ck_assert_float_le(fabsf(qd_frame_output(frames[0], 0, 0)[i] - qd_frame_output(frames[1], 0, 0)[i]),
                           level * 1.001f);
    for (int p = 0; p < 2; p++) {
        qd_frame_free(frames[p]);
        qd_plan_free(plans[p]);
    }
    qd_graph_free(graph);
}

/* x, which is pixels, to a tensor of floats that is rounded. */
static int input(void)
{
    begin(shape4(3, 4, 5));
    return pair("x", node1("Identity", "real", node1("Softsign", "first", graph->inputs[0])), 1.0f / 255, QD_U8, 0);
}

START_TEST(test_conv_relu)
{
    const struct qd_layer_weights *found;
    const struct qd_node *made;
    int x = input();

    finish(pair("y", node1("Relu", "relu", conv("c", x, "w")), SCALE, QD_U8, 0));
    made = only(&qd_op_conv);
    ck_assert_ptr_nonnull(made);
    ck_assert_int_eq(graph->n_nodes, 2);
    ck_assert_int_eq(made->act.kind, QD_ACT_CLIP);
    found = made->layer_weights;
    ck_assert_ptr_nonnull(found);
    ck_assert_int_eq(memcmp(found->q, q2, sizeof(q2)), 0);
    ck_assert_int_eq(memcmp(found->scale, scales2, sizeof(scales2)), 0);
    ck_assert(graph->values[made->outputs[0]].given);
    ck_assert_float_eq(graph->values[made->outputs[0]].q.scale, SCALE);
    check_plans(SCALE);
}
END_TEST

/* Rounded before the Relu, to levels of both signs: the same levels after it. */
START_TEST(test_relu_behind_rounding)
{
    const struct qd_node *made;
    int x = input();

    finish(node1("Relu", "relu", pair("y", conv("c", x, "w"), SCALE, QD_S8, -10)));
    made = only(&qd_op_conv);
    ck_assert_ptr_nonnull(made);
    ck_assert_int_eq(made->act.kind, QD_ACT_CLIP);
    ck_assert_int_eq(graph->values[made->outputs[0]].q.zero_point, 118);
    check_plans(SCALE);
}
END_TEST

/* Weights with a zero point: exact where they fit, else rounded to a wider step. */
START_TEST(test_asymmetric_weights)
{
    static const int8_t q[] = {100, -20, 7, -120, 3, 100}, at[] = {-27, 60};
    const struct qd_layer_weights *found;
    int x = input();

    finish(pair("y", node("Conv", "c", (int[]){x, weights("w", q, 3, scales2, at)}, 2, NULL, 0), SCALE, QD_U8, 128));
    found = only(&qd_op_conv)->layer_weights;
    ck_assert_ptr_nonnull(found);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(found->q[i], q[i] + 27);
    ck_assert_float_eq(found->scale[0], 0.5f);
    ck_assert_float_gt(found->scale[1], 0.25f);
    for (int i = 3; i < 6; i++)
        ck_assert_float_le(fabsf((float)found->q[i] * found->scale[1] - (float)(q[i] - 60) * 0.25f),
                           found->scale[1] * 53);
    qd_graph_free(graph);
}
END_TEST

/* Read rounded by one and as it is by another: rounding stays a node. */
START_TEST(test_read_in_two_ways)
{
    int x = input(), c = conv("c", x, "w"), rounded = pair("y", c, SCALE, QD_U8, 128);

    finish(pair("z", node("Add", "sum", (int[]){rounded, c}, 2, NULL, 0), 2 * SCALE, QD_U8, 128));
    ck_assert_ptr_nonnull(only(&qd_op_requantize));
    ck_assert(!graph->values[only(&qd_op_conv)->outputs[0]].given);
    check_plans(3 * SCALE);
}
END_TEST

/* The same written as QDQ and read back. */
START_TEST(test_write_two_ways)
{
    int x = input(), c = conv("c", x, "w"), rounded = pair("y", c, SCALE, QD_U8, 128);
    struct qd_onnx_options options = {.any_inputs = true};
    struct qd_graph *back;
    struct qd_buf buf;
    int n_rounded = 0;
    bool *int8;

    end(pair("z", node("Add", "sum", (int[]){rounded, c}, 2, NULL, 0), 2 * SCALE, QD_U8, 128));
    ck_assert_ok(qd_passes_run_standard(graph, &err), &err);
    ck_assert_int_eq(count(&qd_op_requantize), 1);
    int8 = qd_alloc_array((size_t)graph->n_nodes, sizeof(bool));
    for (int n = 0; n < graph->n_nodes; n++)
        int8[n] = graph->nodes[n].op == &qd_op_requantize;
    qd_buf_init(&buf, (size_t)1 << 20);
    ck_assert_ok(qd_onnx_save_qdq(graph, int8, &buf, &err), &err);
    ck_assert_ok(qd_onnx_load(buf.bytes, buf.size, &options, &back, &err), &err);
    ck_assert_ok(qd_passes_run_standard(back, &err), &err);
    for (int n = 0; n < back->n_nodes; n++)
        n_rounded += back->values[back->nodes[n].outputs[0]].given;
    ck_assert_int_gt(n_rounded, 0);
    qd_graph_free(back);
    qd_graph_free(graph);
    qd_buf_done(&buf);
    qd_free(int8);
}
END_TEST

/* The model rounds the sum's operands: the sum does not go into a convolution. And chains of equal pairs vanish. */
START_TEST(test_residual)
{
    int x = input(), a = pair("a", conv("ca", x, "v"), SCALE, QD_U8, 100);
    int b = pair("b2", pair("b", conv("cb", x, "w"), SCALE, QD_U8, 100), SCALE, QD_U8, 100);

    finish(pair("z", node1("Relu", "relu", node("Add", "sum", (int[]){a, b}, 2, NULL, 0)), 2 * SCALE, QD_U8, 0));
    ck_assert_int_eq(graph->n_nodes, 4);
    ck_assert_ptr_nonnull(only(&qd_op_add));
    ck_assert_int_eq(only(&qd_op_add)->act.kind, QD_ACT_CLIP);
    check_plans(2 * SCALE);
}
END_TEST

/* Levels of two scales side by side are brought to the output's in front of it; a MaxPool keeps its input's. */
START_TEST(test_concat)
{
    struct qd_attr axis = one("axis", 1), kernel = ints("kernel_shape", 2, (const int64_t[]){2, 2});
    int x = input(), a = pair("a", conv("ca", x, "v"), SCALE, QD_U8, 100), b = conv("cb", x, "w"), both, pool;

    b = pair("b", b, 2 * SCALE, QD_U8, 128);
    both = pair("both", node("Concat", "joined", (int[]){a, b}, 2, &axis, 1), 2 * SCALE, QD_U8, 128);
    pool = node("MaxPool", "pool", &both, 1, &kernel, 1);
    finish(pool);
    ck_assert_ptr_nonnull(only(&qd_op_requantize));
    ck_assert(graph->values[only(&qd_op_max_pool)->outputs[0]].given);
    check_plans(2 * SCALE);
}
END_TEST

/* A transposed convolution is one of blocks of pixels, which are moved: they are rounded before. */
START_TEST(test_conv_transpose)
{
    static const int8_t q[3 * 2 * 2 * 2] = {127, -5, 30, 8, -127, 40, 2, 9, 11, 60, -70, 3, 5, 6, 7, -8, 9};
    const struct qd_shape shape = {4, {3, 2, 2, 2}};
    struct qd_attr strides = ints("strides", 2, (const int64_t[]){2, 2});
    int x = input(), w, s = number("ws", 0.01f), z = zero("wz", QD_S8, 0);

    ck_assert_ok(qd_graph_add_constant(graph, "wq", QD_S8, &shape, q, &w, NULL, &err), &err);
    w = dequantize("w", w, s, z);
    finish(pair("y", node("ConvTranspose", "c", (int[]){x, w}, 2, &strides, 1), SCALE, QD_U8, 100));
    ck_assert_ptr_nonnull(only(&qd_op_conv));
    ck_assert(graph->values[only(&qd_op_conv)->outputs[0]].given);
    check_plans(SCALE);
}
END_TEST

/* To be calibrated anew: floats, and the Relu that the rounding was stays. */
START_TEST(test_forget)
{
    const struct qd_node *made;
    int x = input(), y = pair("y", conv("c", x, "w"), SCALE, QD_U8, 0);

    graph->forgets_scales = true;
    finish(node1("Tanh", "t", y));
    made = only(&qd_op_conv);
    ck_assert_ptr_nonnull(made);
    ck_assert_int_eq(made->act.kind, QD_ACT_CLIP);
    ck_assert_float_eq(made->act.min, 0);
    ck_assert_float_eq(made->act.max, 255 * SCALE);
    ck_assert_ptr_null(made->layer_weights);
    for (int v = 0; v < graph->n_values; v++)
        ck_assert(!graph->values[v].given && graph->values[v].q.scale == 0);
    qd_graph_free(graph);
}
END_TEST

/* Bytes that leave the graph are bytes. */
START_TEST(test_output_of_bytes)
{
    int x = input(), s = number("s", SCALE), z = zero("z", QD_U8, 3);

    finish(quantize("q", conv("c", x, "w"), s, z));
    ck_assert_int_eq(count(&qd_op_quantize_linear), 1);
    ck_assert_int_eq(graph->values[graph->outputs[0]].dtype, QD_U8);
    qd_graph_free(graph);
}
END_TEST

QD_UNIT_MAIN("import_qdq", test_conv_relu, test_relu_behind_rounding, test_asymmetric_weights, test_read_in_two_ways,
             test_write_two_ways, test_residual, test_concat, test_conv_transpose, test_forget, test_output_of_bytes)
