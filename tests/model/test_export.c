/*
 * The bundled model as a QDQ file, read back through protobuf: every name made before it is read, integer weights and
 * biases behind their DequantizeLinear, a pair around every int8 operator and none in front of a Relu or Clip.
 */
#include <stdio.h>
#include <string.h>

#include "onnx/onnx.h"
#include "onnx/onnx.pb-c.h"
#include "serve/model.h"
#include "tests/unit/unit.h"

struct exported {
    struct qd_model *model;
    bool *int8;
    struct qd_buf buf;
    Onnx__ModelProto *proto;
};

static void load_with(struct exported *e, int weight_bits, int activation_bits)
{
    struct qd_model_options options = {.n_threads = 2,
                                       .max_batch = 1,
                                       .limits = {100000000},
                                       .max_images = 16,
                                       .standard_graph = true,
                                       .weight_bits = weight_bits,
                                       .activation_bits = activation_bits};
    struct qd_error err = {""};
    char path[4096];

    snprintf(path, sizeof(path), "%s/models/fashion-mnist", getenv("QD_SRC") ? getenv("QD_SRC") : ".");
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(path, &options, &e->model, &err), &err);
    e->int8 = qd_alloc_array((size_t)e->model->graph->n_nodes + 1, sizeof(bool));
    for (int i = 0; i < qd_plan_n_steps(e->model->result.int8); i++) {
        struct qd_step_info info;

        qd_plan_step(e->model->result.int8, i, &info);
        if (info.node && info.kind == QD_STEP_Q8)
            e->int8[info.node - e->model->graph->nodes] = true;
    }
    qd_buf_init(&e->buf, (size_t)1 << 26);
    ck_assert_ok(qd_onnx_save_qdq(e->model->graph, e->int8, &e->buf, &err), &err);
    e->proto = onnx__model_proto__unpack(NULL, e->buf.size, e->buf.bytes);
    ck_assert_ptr_nonnull(e->proto);
}

static void load(struct exported *e)
{
    load_with(e, 8, 8);
}

static void unload(struct exported *e)
{
    onnx__model_proto__free_unpacked(e->proto, NULL);
    qd_buf_done(&e->buf);
    qd_free(e->int8);
    qd_model_unref(e->model);
}

static const Onnx__TensorProto *initializer(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (strcmp(graph->initializer[i]->name, name) == 0)
            return graph->initializer[i];
    return NULL;
}

/* The node that makes the name, among the first n; *ret_n_readers counts those that read it. */
static const Onnx__NodeProto *producer(const Onnx__GraphProto *graph, const char *name, size_t n, int *ret_n_readers)
{
    const Onnx__NodeProto *found = NULL;

    *ret_n_readers = 0;
    for (size_t i = 0; i < graph->n_node; i++) {
        for (size_t o = 0; o < graph->node[i]->n_output && i < n; o++)
            if (strcmp(graph->node[i]->output[o], name) == 0)
                found = graph->node[i];
        for (size_t j = 0; j < graph->node[i]->n_input; j++)
            *ret_n_readers += strcmp(graph->node[i]->input[j], name) == 0;
    }
    return found;
}

/* Input i of a convolution: int8 or int32 behind a DequantizeLinear, a scale and a zero per channel. */
static void check_rounded(const Onnx__GraphProto *graph, const Onnx__NodeProto *node, size_t i, int type, size_t at)
{
    int n;
    const Onnx__NodeProto *dequantize = producer(graph, node->input[i], at, &n);
    const Onnx__TensorProto *data, *scale, *zero;

    ck_assert_ptr_nonnull(dequantize);
    ck_assert_str_eq(dequantize->op_type, "DequantizeLinear");
    ck_assert_int_eq(dequantize->n_attribute, 1);
    ck_assert_str_eq(dequantize->attribute[0]->name, "axis");
    data = initializer(graph, dequantize->input[0]);
    scale = initializer(graph, dequantize->input[1]);
    zero = initializer(graph, dequantize->input[2]);
    ck_assert(data && scale && zero);
    ck_assert_int_eq(data->data_type, type);
    ck_assert_int_eq(zero->data_type, type);
    ck_assert_int_eq(scale->dims[0], data->dims[dequantize->attribute[0]->i]);
}

START_TEST(test_structure)
{
    struct exported e = {0};
    const Onnx__GraphProto *graph;
    int n_conv = 0, n_pair = 0, n_clip = 0, n_readers;

    load(&e);
    graph = e.proto->graph;
    ck_assert_int_ge(e.proto->opset_import[0]->version, 13);
    ck_assert_str_eq(graph->input[0]->name, "image");
    ck_assert_str_eq(graph->input[0]->type->tensor_type->shape->dim[0]->dim_param, "batch");
    for (size_t n = 0; n < graph->n_node; n++) {
        const Onnx__NodeProto *node = graph->node[n];

        for (size_t i = 0; i < node->n_input; i++)
            ck_assert_msg(!node->input[i][0] || strcmp(node->input[i], graph->input[0]->name) == 0 ||
                              initializer(graph, node->input[i]) || producer(graph, node->input[i], n, &n_readers),
                          "%s: '%s' is made by nothing in front of it", node->name, node->input[i]);
        n_pair += strcmp(node->op_type, "QuantizeLinear") == 0;
        if (strcmp(node->op_type, "Conv") == 0) {
            check_rounded(graph, node, 1, ONNX__TENSOR_PROTO__DATA_TYPE__INT8, n);
            check_rounded(graph, node, 2, ONNX__TENSOR_PROTO__DATA_TYPE__INT32, n);
            ck_assert_str_eq(producer(graph, node->input[0], n, &n_readers)->op_type, "DequantizeLinear");
            n_conv++;
        }
        if (strcmp(node->op_type, "Clip") == 0) {
            ck_assert_str_eq(producer(graph, node->input[0], n, &n_readers)->op_type, "Conv");
            ck_assert_int_eq(n_readers, 1);
            n_clip++;
        }
    }
    ck_assert_int_eq(n_conv, 18);
    ck_assert_int_ge(n_clip, 1);
    ck_assert_int_ge(n_pair, n_conv);
    unload(&e);
}
END_TEST

static const struct qd_node *find_node(const struct qd_graph *graph, const char *name)
{
    for (int n = 0; n < graph->n_nodes; n++)
        if (strcmp(graph->nodes[n].name, name) == 0)
            return &graph->nodes[n];
    return NULL;
}

/* The integers in the file are the calibration's: weights of a convolution as they are, a fully connected one's by
 * axis. */
static void check_integers(const struct exported *e, const Onnx__NodeProto *node)
{
    int unused;
    const Onnx__GraphProto *graph = e->proto->graph;
    const Onnx__NodeProto *dequantize = producer(graph, node->input[1], graph->n_node, &unused);
    const Onnx__TensorProto *q = initializer(graph, dequantize->input[0]);
    const Onnx__TensorProto *scale = initializer(graph, dequantize->input[1]);
    const struct qd_layer_weights *found = find_node(e->model->graph, node->name)->layer_weights;
    size_t n = (size_t)scale->dims[0], k = q->raw_data.len / n;

    ck_assert_ptr_nonnull(found->q);
    ck_assert_uint_eq(scale->raw_data.len, n * sizeof(float));
    ck_assert_int_eq(memcmp(scale->raw_data.data, found->scale, n * sizeof(float)), 0);
    for (size_t o = 0; o < n; o++)
        for (size_t i = 0; i < k; i++)
            ck_assert_int_eq((int8_t)q->raw_data.data[dequantize->attribute[0]->i == 0 ? o * k + i : i * n + o],
                             found->q[o * k + i]);
}

START_TEST(test_calibrated_integers)
{
    struct exported e = {0};
    int n_layers = 0;

    load_with(&e, 5, 8);
    for (size_t n = 0; n < e.proto->graph->n_node; n++) {
        const Onnx__NodeProto *node = e.proto->graph->node[n];

        if (strcmp(node->op_type, "Conv") != 0 && strcmp(node->op_type, "Gemm") != 0)
            continue;
        check_integers(&e, node);
        n_layers++;
    }
    ck_assert_int_eq(n_layers, 19);
    unload(&e);
}
END_TEST

/* QuantizeLinear knows 8 bits only: fewer levels are a Clip in front of it, but behind what only moves bytes. */
START_TEST(test_fewer_levels_are_clipped)
{
    struct exported e = {0};
    int n_quantize = 0, n_clipped = 0, unused;

    load_with(&e, 8, 6);
    for (size_t n = 0; n < e.proto->graph->n_node; n++) {
        const Onnx__NodeProto *node = e.proto->graph->node[n], *clip;
        float scale, low, high;

        if (strcmp(node->op_type, "QuantizeLinear") != 0)
            continue;
        n_quantize++;
        clip = producer(e.proto->graph, node->input[0], n, &unused);
        if (!clip || strcmp(clip->op_type, "Clip") != 0)
            continue;
        memcpy(&scale, initializer(e.proto->graph, node->input[1])->raw_data.data, sizeof(scale));
        memcpy(&low, initializer(e.proto->graph, clip->input[1])->raw_data.data, sizeof(low));
        memcpy(&high, initializer(e.proto->graph, clip->input[2])->raw_data.data, sizeof(high));
        ck_assert_int_eq((int)((high - low) / scale + 0.5f), 63);
        n_clipped++;
    }
    ck_assert_int_ge(n_clipped, 18);
    ck_assert_int_ge(n_quantize, n_clipped);
    unload(&e);
}
END_TEST

/* A step per channel of an activation has no form in QDQ. */
START_TEST(test_channel_steps_are_refused)
{
    const float steps[] = {1};
    struct exported e = {0};
    struct qd_error err = {""};
    struct qd_buf buf;

    load(&e);
    e.model->graph->values[e.model->graph->nodes[1].outputs[0]].channel_steps = steps;
    qd_buf_init(&buf, (size_t)1 << 26);
    ck_assert_int_eq(qd_onnx_save_qdq(e.model->graph, e.int8, &buf, &err), QD_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "step per channel"));
    qd_buf_done(&buf);
    unload(&e);
}
END_TEST

START_TEST(test_every_allocation_may_fail)
{
    struct exported e = {0};
    struct qd_error err = {""};
    struct qd_buf buf;
    long n_all;

    load(&e);
    qd_alloc_fail_after(-1);
    qd_buf_init(&buf, (size_t)1 << 26);
    ck_assert_ok(qd_onnx_save_qdq(e.model->graph, e.int8, &buf, &err), &err);
    ck_assert_uint_eq(buf.size, e.buf.size);
    ck_assert_int_eq(memcmp(buf.bytes, e.buf.bytes, buf.size), 0);
    qd_buf_done(&buf);
    n_all = qd_alloc_fail_after(-1);
    for (long n = 0; n < n_all; n++) {
        enum qd_status status;

        qd_buf_init(&buf, (size_t)1 << 26);
        qd_alloc_fail_after(n);
        status = qd_onnx_save_qdq(e.model->graph, e.int8, &buf, &err);
        qd_alloc_fail_after(-1);
        qd_buf_done(&buf);
        ck_assert_msg(status != QD_OK, "allocation %ld of %ld failed, and nobody noticed", n, n_all);
    }
    unload(&e);
}
END_TEST

/* What is fused has no ONNX form, and is refused by name. */
START_TEST(test_fused_graph_is_refused)
{
    struct qd_error err = {""};
    struct qd_model *model;
    struct qd_buf buf;
    bool int8[64] = {false};
    char path[4096];

    snprintf(path, sizeof(path), "%s/models/fashion-mnist", getenv("QD_SRC") ? getenv("QD_SRC") : ".");
    ck_assert_ok(qd_model_load_graph(path, &model, &err), &err);
    qd_buf_init(&buf, (size_t)1 << 26);
    ck_assert_int_eq(qd_onnx_save_qdq(model->graph, int8, &buf, &err), QD_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "fused"));
    qd_buf_done(&buf);
    qd_model_unref(model);
}
END_TEST

QD_UNIT_MAIN("export", test_structure, test_calibrated_integers, test_fewer_levels_are_clipped,
             test_channel_steps_are_refused, test_every_allocation_may_fail, test_fused_graph_is_refused)
