/*
 * A network whose height and width are free, at sizes that it was not calibrated at: its plan gives what fp32 gives at
 * that size, plans are kept and the oldest goes, and what cannot be has an error that says so.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "onnx/onnx.pb-c.h"
#include "serve/sizes.h"
#include "tests/unit/scratch.h"
#include "util/file.h"

static char folder[QD_SCRATCH_SIZE];
static struct qd_model_options options = {
    .n_threads = 2, .max_batch = 1, .limits = {100000000}, .max_images = 32, .method = "mse"};
static struct qd_error err;

static void path_of(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", folder, name);
}

/* The bundled model with free height and width, in a folder of its own. */
static void write_free_model(void)
{
    const char *source = getenv("QD_SRC") ? getenv("QD_SRC") : ".";
    static char height[] = "height", width[] = "width";
    Onnx__ModelProto *model;
    struct qd_buf buf, changed;
    char path[4096], json[8192];

    snprintf(path, sizeof(path), "%s/models/fashion-mnist/1/model.onnx", source);
    ck_assert_ok(qd_file_read(path, (size_t)1 << 30, &buf, &err), &err);
    model = onnx__model_proto__unpack(NULL, buf.size, buf.bytes);
    ck_assert_ptr_nonnull(model);
    for (int i = 0; i < 2; i++) {
        Onnx__TensorShapeProto__Dimension *dim = model->graph->input[0]->type->tensor_type->shape->dim[2 + i];

        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        dim->dim_param = i ? width : height;
    }
    qd_buf_init(&changed, (size_t)1 << 30);
    ck_assert_ok(qd_buf_reserve(&changed, onnx__model_proto__get_packed_size(model), &err), &err);
    changed.size = onnx__model_proto__pack(model, changed.bytes);
    make_scratch(folder);
    path_of(path, sizeof(path), "1");
    ck_assert_ok(qd_folder_make(path, &err), &err);
    path_of(path, sizeof(path), "1/model.onnx");
    ck_assert_ok(qd_file_write_atomic(path, changed.bytes, changed.size, &err), &err);
    snprintf(json, sizeof(json),
             "{\"preprocess\": {\"color\": \"gray\", \"crop\": [28, 28], \"scale\": 0.00392156862745098,"
             " \"mean\": [0.286], \"std\": [0.353]}, \"calibration\": {\"images\": "
             "\"%s/models/fashion-mnist/calibration\"}}",
             source);
    path_of(path, sizeof(path), "model.json");
    ck_assert_ok(qd_file_write_atomic(path, json, strlen(json), &err), &err);
    qd_buf_done(&buf);
    qd_buf_done(&changed);
}

/* Smooth made-up pictures: output SQNR of int8 against fp32 of the same graph. */
static double sqnr_at(const struct qd_model *model, struct qd_frame *frame)
{
    struct qd_plan_options fp32 = {.precision = QD_PRECISION_F32, .max_batch = 1, .kernels = options.kernels};
    double signal = 0, noise = 0;
    struct qd_plan *plan;
    struct qd_frame *reference;
    int h, w, c;

    ck_assert_ok(qd_plan_new(model->graph, &fp32, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, 1, &reference, &err), &err);
    qd_plan_input_size(plan, &h, &w, &c);
    for (int i = 0; i < h * w; i++)
        qd_frame_input(frame, 0)[i] = qd_frame_input(reference, 0)[i] =
            (uint8_t)(127 + 120 * sin(i / w * 0.21) * cos(i % w * 0.17));
    qd_frame_run(frame, 1, 2);
    qd_frame_run(reference, 1, 1);
    for (int64_t i = 0; i < qd_plan_output_count(plan, 0); i++) {
        double want = (double)qd_frame_output(reference, 0, 0)[i], found = (double)qd_frame_output(frame, 0, 0)[i];

        signal += want * want;
        noise += (want - found) * (want - found);
    }
    qd_frame_free(reference);
    qd_plan_free(plan);
    return 10 * log10(signal / noise);
}

START_TEST(test_sizes)
{
    static const int sizes[][2] = {{28, 28}, {56, 40}, {31, 97}};
    const struct qd_model *model;
    struct qd_frame *frame, *first;
    struct qd_model *base;
    struct qd_sizes *kept;

    write_free_model();
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(folder, &options, &base, &err), &err);
    ck_assert_ok(qd_sizes_new(base, &options, &kept, &err), &err);
    qd_model_unref(base); /* kept holds it */
    for (size_t i = 0; i < QD_ARRAY_SIZE(sizes); i++) {
        double db;
        int h, w, c;

        ck_assert_ok(qd_sizes_get(kept, sizes[i][0], sizes[i][1], &model, &frame, &err), &err);
        qd_plan_input_size(model->result.int8, &h, &w, &c);
        ck_assert(h == sizes[i][0] && w == sizes[i][1] && c == 1);
        ck_assert(qd_plan_macs(model->result.int8, true) == qd_plan_macs(model->result.int8, false));
        db = sqnr_at(model, frame);
        ck_assert_msg(db > 15, "%d x %d: %g dB", h, w, db);
    }
    ck_assert_ok(qd_sizes_get(kept, 28, 28, &model, &first, &err), &err);
    ck_assert_int_eq(qd_sizes_count(kept), 3);
    for (int i = 0; i < 2 * QD_MAX_SIZES; i++) {
        ck_assert_ok(qd_sizes_get(kept, 32 + i, 32, &model, &frame, &err), &err);
        ck_assert_ok(qd_sizes_get(kept, 28, 28, &model, &frame, &err), &err);
        ck_assert_ptr_eq(frame, first); /* what is used again and again stays */
    }
    ck_assert_int_eq(qd_sizes_count(kept), QD_MAX_SIZES);
    ck_assert_int_ne(qd_sizes_get(kept, 0, 28, &model, &frame, &err), QD_OK);
    ck_assert_int_eq(qd_sizes_count(kept), QD_MAX_SIZES);
    qd_sizes_free(kept);
    remove_scratch(folder);
}
END_TEST

START_TEST(test_fixed_size)
{
    struct qd_model *base, *resized;
    char path[4096];

    snprintf(path, sizeof(path), "%s/models/fashion-mnist", getenv("QD_SRC") ? getenv("QD_SRC") : ".");
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(path, &options, &base, &err), &err);
    ck_assert_int_eq(qd_model_resized(base, 56, 56, &options, &resized, &err), QD_INVALID);
    ck_assert_msg(strstr(err.text, "28 x 28") != NULL, "%s", err.text);
    qd_model_unref(base);
}
END_TEST

QD_UNIT_MAIN("sizes", test_sizes, test_fixed_size)
