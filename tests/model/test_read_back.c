/*
 * quantd's own QDQ export of the bundled model, read back: the integers of every layer and the levels of every value
 * that were written, with no picture to calibrate on, and nearly always the same class.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "onnx/onnx.h"
#include "quant/given.h"
#include "serve/model.h"
#include "tests/unit/scratch.h"
#include "util/file.h"

#define N_PICTURES 400

static char folder[QD_SCRATCH_SIZE];
static struct qd_error err;

static const char *source(void)
{
    return getenv("QD_SRC") ? getenv("QD_SRC") : ".";
}

static struct qd_model *load(const char *path, const struct qd_model_options *changes)
{
    struct qd_model_options options = *changes;
    struct qd_model *model = NULL;

    options.n_threads = 2;
    options.max_batch = 1;
    options.limits.max_pixels = 100000000;
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(path, &options, &model, &err), &err);
    return model;
}

static struct qd_model *load_bundled(void)
{
    struct qd_model_options options = {.max_images = 16, .standard_graph = true};
    char path[4096];

    snprintf(path, sizeof(path), "%s/models/fashion-mnist", source());
    return load(path, &options);
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    ck_assert_ok(qd_file_write_atomic(path, bytes, size, &err), &err);
}

static void export(const struct qd_model *model)
{
    static const char json[] = "{\"preprocess\": {\"color\": \"gray\", \"resize\": \"stretch\", \"size\": [28, 28], "
                               "\"scale\": 0.00392156862745098, \"mean\": [0.286], \"std\": [0.353]}}";
    bool *int8 = qd_alloc_array((size_t)model->graph->n_nodes + 1, sizeof(bool));
    char path[4096];
    struct qd_buf buf;

    for (int i = 0; i < qd_plan_n_steps(model->result.int8); i++) {
        struct qd_step_info info;

        qd_plan_step(model->result.int8, i, &info);
        if (info.node && info.kind == QD_STEP_Q8)
            int8[info.node - model->graph->nodes] = true;
    }
    qd_buf_init(&buf, (size_t)1 << 26);
    ck_assert_ok(qd_onnx_save_qdq(model->graph, int8, &buf, &err), &err);
    make_scratch(folder);
    snprintf(path, sizeof(path), "%s/1", folder);
    ck_assert_ok(qd_folder_make(path, &err), &err);
    write_file("1/model.onnx", buf.bytes, buf.size);
    write_file("model.json", json, strlen(json));
    qd_buf_done(&buf);
    qd_free(int8);
}

static const struct qd_node *node_named(const struct qd_graph *graph, const char *name)
{
    for (int n = 0; n < graph->n_nodes; n++)
        if (strcmp(graph->nodes[n].name, name) == 0)
            return &graph->nodes[n];
    return NULL;
}

static void check_layers(const struct qd_model *original, const struct qd_model *back)
{
    int n_checked = 0;

    ck_assert_uint_eq(original->result.scales->n_layers, back->result.scales->n_layers);
    for (size_t l = 0; l < original->result.scales->n_layers; l++) {
        const struct qd_layer_scale *layer = &original->result.scales->layers[l];
        const struct qd_node *node = node_named(back->graph, layer->name);
        const struct qd_layer_weights *weights;

        ck_assert_ptr_nonnull(node);
        weights = node->layer_weights;
        ck_assert(weights && weights->q);
        if (!layer->weights.q)
            continue;
        ck_assert_int_eq(memcmp(weights->q, layer->weights.q, (size_t)layer->n * (size_t)layer->k), 0);
        for (int o = 0; o < layer->n; o++)
            ck_assert_float_eq(weights->scale[o], layer->weights.scale[o]);
        n_checked++;
    }
    ck_assert_int_gt(n_checked, 0);
}

static void check_values(const struct qd_model *original, const struct qd_model *back)
{
    for (int v = 0; v < back->graph->n_values; v++) {
        const struct qd_value *value = &back->graph->values[v];
        int other = qd_graph_find_value(original->graph, value->name);

        if (!value->given || other < 0 || value->producer < 0)
            continue;
        ck_assert_float_eq(value->q.scale, original->graph->values[other].q.scale);
        ck_assert_int_eq(value->q.zero_point, original->graph->values[other].q.zero_point);
    }
}

static int64_t class_of(struct qd_frame *frame, const struct qd_model *model, const struct qd_image_file *file)
{
    const float *out;
    int64_t best = 0;
    struct qd_buf buf;

    ck_assert_ok(qd_file_read(file->path, (size_t)1 << 24, &buf, &err), &err);
    ck_assert_ok(qd_preprocess_run(&model->config.preprocess, buf.bytes, buf.size, &(struct qd_image_limits){100000000},
                                   qd_frame_input(frame, 0), &err),
                 &err);
    qd_buf_done(&buf);
    qd_frame_run(frame, 1, 1);
    out = qd_frame_output(frame, 0, 0);
    for (int64_t c = 1; c < qd_plan_output_count(model->result.int8, 0); c++)
        best = out[c] > out[best] ? c : best;
    return best;
}

static void check_classes(const struct qd_model *original, const struct qd_model *back)
{
    struct qd_image_set set = {0};
    struct qd_frame *a, *b;
    char path[4096];
    int same = 0;

    snprintf(path, sizeof(path), "%s/models/fashion-mnist/evaluation", source());
    ck_assert_ok(qd_image_set_load(path, NULL, N_PICTURES, &set, &err), &err);
    ck_assert_ok(qd_frame_new(original->result.int8, 1, &a, &err), &err);
    ck_assert_ok(qd_frame_new(back->result.int8, 1, &b, &err), &err);
    for (size_t i = 0; i < set.n_files; i++)
        same += class_of(a, original, &set.files[i]) == class_of(b, back, &set.files[i]);
    ck_assert_msg(same >= 99 * N_PICTURES / 100, "%d of %d classes are the same", same, N_PICTURES);
    qd_frame_free(a);
    qd_frame_free(b);
    qd_image_set_done(&set);
}

START_TEST(test_read_back)
{
    struct qd_model *original = load_bundled(), *back, *float_again;
    char path[4096];

    export(original);
    back = load(folder, &(struct qd_model_options){0});
    ck_assert_str_eq(back->result.scales->method, QD_METHOD_GIVEN);
    ck_assert_int_eq(back->result.scales->n_images, 0);
    ck_assert(back->result.scales->gate_passed);
    ck_assert_int_eq(qd_plan_macs(back->result.int8, true), qd_plan_macs(back->result.int8, false));
    check_layers(original, back);
    check_values(original, back);
    check_classes(original, back);
    qd_model_unref(back);

    /* A method that is named finds scales of its own, and needs pictures. */
    snprintf(path, sizeof(path), "%s/models/fashion-mnist/calibration", source());
    float_again = load(folder, &(struct qd_model_options){.method = "minmax", .images = path, .max_images = 16});
    ck_assert_str_eq(float_again->result.scales->method, "minmax");
    ck_assert(!qd_graph_has_given_scales(float_again->graph));
    check_classes(original, float_again);
    qd_model_unref(float_again);
    qd_model_unref(original);
    remove_scratch(folder);
}
END_TEST

QD_UNIT_MAIN("read_back", test_read_back)
