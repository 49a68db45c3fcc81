/*
 * dump_outputs MODEL-FOLDER OUT-FOLDER N [int8|standard [CACHE [LIMIT]]]: for N pictures of the evaluation set, the
 * float tensor that another runtime gets (preprocessed, NCHW) as OUT/I.in, and quantd's fp32 (or int8) output as
 * OUT/I.out, little-endian floats; OUT/labels holds a picture's class per line; further outputs as OUT/I.out.1 and so
 * on. bench/ort/compare.js feeds the first to ONNX Runtime and compares. standard: int8 of the graph that is exported,
 * with the integers that stand in the QDQ file. CACHE: the scale cache; LIMIT: of calibration pictures.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/model.h"
#include "util/file.h"

static enum qd_status write_floats(const char *folder, int i, const char *suffix, const float *x, size_t n,
                                   struct qd_error *err)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%d.%s", folder, i, suffix);
    return qd_file_write_atomic(path, x, n * sizeof(float), err);
}

static enum qd_status dump_one(const struct qd_model *model, struct qd_frame *frame, const struct qd_image_file *file,
                               const char *folder, int i, struct qd_error *err)
{
    const struct qd_preprocess *p = &model->config.preprocess;
    int c = qd_preprocess_channels(p), pixels = p->crop_h * p->crop_w;
    const struct qd_image_limits limits = {178956970};
    uint8_t *bytes = qd_frame_input(frame, 0);
    float *tensor = NULL;
    struct qd_buf buf;
    enum qd_status status = qd_file_read(file->path, (size_t)64 << 20, &buf, err);

    if (status != QD_OK)
        return status;
    status = qd_preprocess_run(p, buf.bytes, buf.size, &limits, bytes, err);
    qd_buf_done(&buf);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&tensor, (size_t)pixels, (size_t)c * sizeof(float), "a tensor", err);
    for (int j = 0; j < pixels * c && status == QD_OK; j++)
        tensor[j % c * pixels + j / c] = ((float)bytes[j] * p->scale - p->mean[j % c]) / p->std[j % c];
    if (status == QD_OK)
        status = write_floats(folder, i, "in", tensor, (size_t)(pixels * c), err);
    qd_free(tensor);
    if (status != QD_OK)
        return status;
    qd_frame_run(frame, 1, 1);
    for (int output = 0; output < model->graph->n_outputs && status == QD_OK; output++) {
        const struct qd_value *value = &model->graph->values[model->graph->outputs[output]];
        char suffix[32] = "out";

        if (output)
            snprintf(suffix, sizeof(suffix), "out.%d", output);
        if (value->dtype == QD_F32)
            status = write_floats(folder, i, suffix, qd_frame_output(frame, output, 0),
                                  (size_t)qd_shape_count(&value->shape), err);
    }
    return status;
}

static enum qd_status write_labels(const struct qd_image_set *set, const char *folder, struct qd_error *err)
{
    char path[4096];
    struct qd_buf text;
    enum qd_status status = QD_OK;

    snprintf(path, sizeof(path), "%s/labels", folder);
    qd_buf_init(&text, (size_t)1 << 24);
    for (size_t i = 0; i < set->n_files && status == QD_OK; i++)
        status = qd_buf_printf(&text, err, "%d\n", set->files[i].label);
    if (status == QD_OK)
        status = qd_file_write_atomic(path, text.bytes, text.size, err);
    qd_buf_done(&text);
    return status;
}

/* The fp32 plan needs no scales; the int8 one comes with a calibrated model: then *ret_fp32 stays NULL. */
static enum qd_status load(int argc, char **argv, struct qd_model **ret, struct qd_plan **ret_fp32,
                           struct qd_error *err)
{
    struct qd_model_options options = {.n_threads = qd_default_threads(), .max_batch = 1, .limits = {178956970}};
    bool int8 = argc > 4;
    struct qd_plan_options plan_options = {.precision = QD_PRECISION_F32, .max_batch = 1};
    enum qd_status status = qd_kernels_init(&options.kernels, err);

    plan_options.kernels = options.kernels;
    options.standard_graph = int8 && strcmp(argv[4], "standard") == 0;
    options.cache_folder = argc > 5 ? argv[5] : NULL;
    options.max_images = argc > 6 ? (size_t)atoi(argv[6]) : 0;
    if (status == QD_OK)
        status = int8 ? qd_model_load(argv[1], &options, ret, err) : qd_model_load_graph(argv[1], ret, err);
    if (status == QD_OK && !int8)
        status = qd_plan_new((*ret)->graph, &plan_options, ret_fp32, err);
    return status;
}

int main(int argc, char **argv)
{
    struct qd_image_set set = {0};
    struct qd_model *model = NULL;
    struct qd_frame *frame = NULL;
    struct qd_plan *fp32 = NULL;
    const struct qd_plan *plan = NULL;
    struct qd_error err = {""};
    enum qd_status status;

    if (argc < 4 || argc > 7 || (argc > 4 && strcmp(argv[4], "int8") != 0 && strcmp(argv[4], "standard") != 0)) {
        fprintf(stderr, "usage: dump_outputs MODEL-FOLDER OUT-FOLDER N [int8|standard [CACHE [LIMIT]]]\n");
        return 2;
    }
    status = qd_folder_make(argv[2], &err);
    if (status == QD_OK)
        status = load(argc, argv, &model, &fp32, &err);
    if (status == QD_OK) {
        plan = fp32 ? fp32 : model->result.int8;
        status = qd_image_set_load(model->config.evaluation_folder, model->config.evaluation_labels,
                                   (size_t)atoi(argv[3]), &set, &err);
    }
    if (status == QD_OK)
        status = write_labels(&set, argv[2], &err);
    if (status == QD_OK)
        status = qd_frame_new(plan, 1, &frame, &err);
    for (size_t i = 0; i < set.n_files && status == QD_OK; i++)
        status = dump_one(model, frame, &set.files[i], argv[2], (int)i, &err);
    if (status == QD_OK && argc > 4)
        printf("%.6f of the multiply-accumulates in int8\n",
               (double)qd_plan_macs(plan, true) / (double)(qd_plan_macs(plan, false) ? qd_plan_macs(plan, false) : 1));
    if (status != QD_OK)
        fprintf(stderr, "dump_outputs: %s\n", err.text);
    qd_frame_free(frame);
    qd_plan_free(fp32);
    qd_model_unref(model);
    qd_image_set_done(&set);
    return status != QD_OK;
}
