/* Every malformed model of tests/data/bad gives its status and its text; and the bundled model survives want of memory.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "onnx/internal.h"
#include "onnx/onnx.h"
#include "op/op.h"
#include "pass/pass.h"
#include "tests/unit/unit.h"
#include "util/file.h"

static void data_path(char *path, size_t size, const char *name)
{
    const char *source = getenv("QD_SRC");

    snprintf(path, size, "%s/%s", source ? source : ".", name);
}

static void check_bad(const char *folder, const char *name)
{
    struct qd_onnx_options options = {.folder = folder};
    struct qd_error err = {""}, ignored = {""};
    struct qd_graph *graph = NULL;
    struct qd_buf model, expect;
    char path[8192], *text;
    enum qd_status status;

    snprintf(path, sizeof(path), "%s/%s.onnx", folder, name);
    ck_assert_ok(qd_file_read(path, (size_t)1 << 30, &model, &ignored), &ignored);
    snprintf(path, sizeof(path), "%s/%s.expect", folder, name);
    ck_assert_ok(qd_file_read(path, 4096, &expect, &ignored), &ignored);
    text = strchr((char *)expect.bytes, '\t');
    ck_assert_ptr_nonnull(text);
    *text++ = 0;
    text[strcspn(text, "\n")] = 0;
    status = qd_onnx_load(model.size ? (const void *)model.bytes : "", model.size, &options, &graph, &err);
    ck_assert_msg(strcmp(qd_status_name(status), (char *)expect.bytes) == 0 && strstr(err.text, text),
                  "%s: expected %s with '%s', found %s: %s", name, (char *)expect.bytes, text, qd_status_name(status),
                  err.text);
    qd_buf_done(&model);
    qd_buf_done(&expect);
}

START_TEST(test_bad_models)
{
    char folder[4096];
    struct dirent *entry;
    DIR *dir;
    int n = 0;

    data_path(folder, sizeof(folder), "tests/data/bad");
    dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir))) {
        char *dot = strrchr(entry->d_name, '.');

        if (!dot || strcmp(dot, ".onnx") != 0)
            continue;
        *dot = 0;
        check_bad(folder, entry->d_name);
        n++;
    }
    closedir(dir);
    ck_assert_int_ge(n, 20);
}
END_TEST

/* 10^6 nodes, 20 MB of a legal file: refused by its number of nodes, within the unpacker's bounds of memory. */
START_TEST(test_a_million_nodes)
{
    static const uint8_t node[] = {0x0a, 15, 0x0a, 1, 'x', 0x12, 1, 'x', 0x22, 4, 'R', 'e', 'l', 'u', 0x1a, 1, 'n'};
    static const uint8_t opset[] = {0x42, 2, 0x10, 13}; /* version 13 of the default domain */
    const size_t n = 1000000, body = n * sizeof(node);
    uint8_t *bytes = malloc(16 + body + sizeof(opset)), *to = bytes;
    struct qd_onnx_options options = {0};
    struct qd_error err = {""};
    struct qd_graph *graph = NULL;

    ck_assert_ptr_nonnull(bytes);
    *to++ = 0x3a; /* the graph, and its length */
    for (size_t rest = body; rest || to == bytes + 1; rest >>= 7)
        *to++ = (uint8_t)((rest & 127) | (rest > 127 ? 128 : 0));
    for (size_t i = 0; i < n; i++, to += sizeof(node))
        memcpy(to, node, sizeof(node));
    memcpy(to, opset, sizeof(opset));
    ck_assert_int_eq(qd_onnx_load(bytes, (size_t)(to - bytes) + sizeof(opset), &options, &graph, &err), QD_TOO_LARGE);
    ck_assert_msg(strstr(err.text, "at most 100000 nodes, found 1000000") != NULL, "%s", err.text);
    free(bytes);
}
END_TEST

/* An input beside the picture that is given: a constant of the type that the model declares. */
START_TEST(test_fixed_input)
{
    const float numbers[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct qd_onnx_fixed fixed = {"z", QD_F32, {4, {1, 1, 1, 8}}, numbers};
    struct qd_onnx_options options = {.fixed = &fixed, .n_fixed = 1};
    struct qd_error err = {""};
    struct qd_graph *graph = NULL;
    struct qd_buf buf;
    char path[4096];
    int z;

    data_path(path, sizeof(path), "tests/data/bad/two_inputs.onnx");
    ck_assert_ok(qd_file_read(path, (size_t)1 << 20, &buf, &err), &err);
    ck_assert_ok(qd_onnx_load(buf.bytes, buf.size, &options, &graph, &err), &err);
    z = qd_graph_find_value(graph, "z");
    ck_assert_int_eq(graph->n_inputs, 1);
    ck_assert_int_ge(z, 0);
    ck_assert_mem_eq(graph->values[z].data, numbers, sizeof(numbers));
    qd_graph_free(graph);
    fixed.name = "zz";
    ck_assert_int_eq(qd_onnx_load(buf.bytes, buf.size, &options, &graph, &err), QD_NOT_FOUND);
    qd_buf_done(&buf);
}
END_TEST

/* The bundled model as tf2onnx would write it: bytes [n,h,w,c], a Cast and a Transpose before the first convolution. */
static void put_channels_last(Onnx__GraphProto *proto, Onnx__NodeProto *cast, Onnx__NodeProto *transpose)
{
    static int64_t perm[] = {0, 3, 1, 2};
    static Onnx__AttributeProto attrs[2];
    static Onnx__AttributeProto *pointers[] = {&attrs[0], &attrs[1]};
    static char first[] = "image_bytes", second[] = "image_floats";
    static char *names[] = {first, second, NULL};
    Onnx__TypeProto__Tensor *type = proto->input[0]->type->tensor_type;
    Onnx__NodeProto **nodes = malloc((proto->n_node + 2) * sizeof(Onnx__NodeProto *));
    Onnx__TensorShapeProto__Dimension *channels = type->shape->dim[1];

    names[2] = proto->input[0]->name;
    proto->input[0]->name = names[0];
    type->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    type->shape->dim[1] = type->shape->dim[2];
    type->shape->dim[2] = type->shape->dim[3];
    type->shape->dim[3] = channels;
    onnx__attribute_proto__init(&attrs[0]);
    attrs[0].name = (char *)(uintptr_t) "to";
    attrs[0].has_type = attrs[0].has_i = true;
    attrs[0].type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    attrs[0].i = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    onnx__attribute_proto__init(&attrs[1]);
    attrs[1].name = (char *)(uintptr_t) "perm";
    attrs[1].has_type = true;
    attrs[1].type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    attrs[1].n_ints = 4;
    attrs[1].ints = perm;
    for (int i = 0; i < 2; i++) {
        Onnx__NodeProto *node = i ? transpose : cast;

        onnx__node_proto__init(node);
        node->op_type = (char *)(uintptr_t)(i ? "Transpose" : "Cast");
        node->n_input = node->n_output = node->n_attribute = 1;
        node->input = &names[i];
        node->output = &names[i + 1];
        node->attribute = &pointers[i];
        nodes[i] = node;
    }
    memcpy(nodes + 2, proto->node, proto->n_node * sizeof(*nodes));
    proto->node = nodes;
    proto->n_node += 2;
}

START_TEST(test_channels_last)
{
    struct qd_onnx_options options = {0};
    struct qd_graph *plain = NULL, *last = NULL;
    struct qd_error err = {""};
    struct qd_buf buf, changed;
    Onnx__NodeProto cast, transpose;
    Onnx__ModelProto *model;
    float scale = 1, bias = 0;
    char path[4096];

    data_path(path, sizeof(path), "models/fashion-mnist/1/model.onnx");
    ck_assert_ok(qd_file_read(path, (size_t)1 << 30, &buf, &err), &err);
    model = onnx__model_proto__unpack(NULL, buf.size, buf.bytes);
    ck_assert_ptr_nonnull(model);
    put_channels_last(model->graph, &cast, &transpose);
    qd_buf_init(&changed, (size_t)1 << 30);
    ck_assert_ok(qd_buf_reserve(&changed, onnx__model_proto__get_packed_size(model), &err), &err);
    changed.size = onnx__model_proto__pack(model, changed.bytes);
    ck_assert_ok(qd_onnx_load(buf.bytes, buf.size, &options, &plain, &err), &err);
    ck_assert_ok(qd_onnx_load(changed.bytes, changed.size, &options, &last, &err), &err);
    ck_assert(qd_shape_equal(&plain->values[plain->inputs[0]].shape, &last->values[last->inputs[0]].shape));
    ck_assert_str_eq(last->values[last->inputs[0]].name, "image_bytes");
    ck_assert_ok(qd_pass_insert_normalize(plain, &scale, &bias, 1, &err), &err);
    ck_assert_ok(qd_pass_insert_normalize(last, &scale, &bias, 1, &err), &err);
    ck_assert_ok(qd_passes_run(plain, &err), &err);
    ck_assert_ok(qd_passes_run(last, &err), &err);
    for (int n = 0; n < plain->n_nodes; n++)
        ck_assert_str_eq(plain->nodes[n].op->name, last->nodes[n].op->name);
    ck_assert_int_eq(plain->n_nodes, last->n_nodes);
    qd_graph_free(plain);
    qd_graph_free(last);
    qd_buf_done(&buf);
    qd_buf_done(&changed);
}
END_TEST

/* Loads and runs the passes; the graph is freed. */
static enum qd_status load(const struct qd_buf *buf)
{
    struct qd_onnx_options options = {0};
    struct qd_graph *graph = NULL;
    struct qd_error err = {""};
    float scale = 1, bias = 0;
    enum qd_status status = qd_onnx_load(buf->bytes, buf->size, &options, &graph, &err);

    if (status == QD_OK)
        status = qd_pass_insert_normalize(graph, &scale, &bias, 1, &err);
    if (status == QD_OK)
        status = qd_passes_run(graph, &err);
    qd_graph_free(graph);
    return status;
}

START_TEST(test_every_allocation_may_fail)
{
    struct qd_error err = {""};
    struct qd_buf buf;
    char path[4096];
    long n_all, step;

    data_path(path, sizeof(path), "models/fashion-mnist/1/model.onnx");
    ck_assert_ok(qd_file_read(path, (size_t)1 << 26, &buf, &err), &err);
    qd_alloc_fail_after(-1);
    ck_assert_int_eq(load(&buf), QD_OK);
    n_all = qd_alloc_fail_after(-1);
    step = n_all > 500 ? n_all / 500 : 1;
    for (long n = 0; n < n_all; n += step) {
        enum qd_status status;

        qd_alloc_fail_after(n);
        status = load(&buf);
        qd_alloc_fail_after(-1);
        ck_assert_msg(status != QD_OK, "allocation %ld of %ld failed, and nobody noticed", n, n_all);
    }
    qd_buf_done(&buf);
}
END_TEST

/* What the passes leave of the bundled model: everything fused into its convolutions. */
START_TEST(test_passes_fuse)
{
    struct qd_onnx_options options = {0};
    struct qd_error err = {""};
    struct qd_graph *graph;
    struct qd_buf buf;
    char path[4096];
    float scale = 0.01f, bias = -1;
    int n_conv = 0, n_residual = 0, n_act = 0, n_other = 0;

    data_path(path, sizeof(path), "models/fashion-mnist/1/model.onnx");
    ck_assert_ok(qd_file_read(path, (size_t)1 << 26, &buf, &err), &err);
    ck_assert_ok(qd_onnx_load(buf.bytes, buf.size, &options, &graph, &err), &err);
    ck_assert_ok(qd_pass_insert_normalize(graph, &scale, &bias, 1, &err), &err);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        n_conv += node->op == &qd_op_conv;
        n_residual += node->residual >= 0;
        n_act += node->act.kind != QD_ACT_NONE;
        n_other += node->op == &qd_op_batch_normalization || node->op == &qd_op_add || node->op == &qd_op_normalize;
    }
    ck_assert_int_eq(n_conv, 18);
    ck_assert_int_eq(n_residual, 4);
    ck_assert_int_eq(n_act, 13);
    ck_assert_int_eq(n_other, 0);
    qd_graph_free(graph);
    qd_buf_done(&buf);
}
END_TEST

QD_UNIT_MAIN("onnx", test_bad_models, test_a_million_nodes, test_channels_last, test_fixed_input,
             test_every_allocation_may_fail, test_passes_fuse)
