#include <stdio.h>
#include <string.h>

#include "cli/accelerator.h"
#include "cli/cli.h"
#include "export/tables.h"
#include "onnx/onnx.h"
#include "util/file.h"

#define MAX_FILE_BYTES ((size_t)2 << 30) /* protobuf's own limit */
#define N_GOLDEN 2                       /* pictures with vectors of every step, where --golden does not say */
#define N_COMPARED 16                    /* pictures, where --evaluate does not say */
#define TENSORRT_VERSION 8601

static const struct qd_cli_flag flags[] = {
    {"--qdq", "FILE", "write an ONNX model in QDQ form, input as the original's", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, qdq)},
    {"--ncnn-table", "FILE", "write ncnn's calibration table", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, ncnn_table)},
    {"--tensorrt-cache", "FILE", "write TensorRT's calibration cache", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, tensorrt_cache)},
    {"--tensorrt-version", "N", "of the cache's header (default 8601)", QD_FLAG_INT,
     offsetof(struct qd_cli_options, tensorrt_version)},
    {"--accelerator", "DIR", "write integers alone, with golden vectors", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, accelerator)},
    {"--golden", "N", "pictures with golden vectors (default 2)", QD_FLAG_SIZE,
     offsetof(struct qd_cli_options, n_golden)},
    {"--evaluate", "N", "pictures on which --accelerator is compared (default 16)", QD_FLAG_SIZE,
     offsetof(struct qd_cli_options, evaluation_limit)},
    {"--json", NULL, "print one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    QD_CALIBRATION_FLAGS,
    {"--limit", "N", "at most N calibration pictures", QD_FLAG_SIZE, offsetof(struct qd_cli_options, limit)},
    {"--cache", "DIR", "scale cache folder (default: none)", QD_FLAG_TEXT, offsetof(struct qd_cli_options, cache)},
    {"--threads", "N", "threads (default: as OpenMP says)", QD_FLAG_INT, offsetof(struct qd_cli_options, threads)},
};

/* A model of the standard graph, and which of its nodes run in int8. */
struct standard {
    const struct qd_cli_options *cli;
    const struct qd_graph *graph;
    const bool *int8;
};

static enum qd_status make_qdq(const struct standard *s, struct qd_buf *out, struct qd_error *err)
{
    return qd_onnx_save_qdq(s->graph, s->int8, out, err);
}

static enum qd_status make_ncnn(const struct standard *s, struct qd_buf *out, struct qd_error *err)
{
    return qd_export_ncnn_table(s->graph, s->int8, out, err);
}

static enum qd_status make_tensorrt(const struct standard *s, struct qd_buf *out, struct qd_error *err)
{
    int version = s->cli->tensorrt_version;

    return qd_export_tensorrt_cache(s->graph, version ? version : TENSORRT_VERSION, out, err);
}

/* Files of the standard graph; a new format is a function, a flag and a row. */
static const struct format {
    const char *name;
    size_t offset; /* of its path in struct qd_cli_options */
    enum qd_status (*make)(const struct standard *s, struct qd_buf *out, struct qd_error *err);
} formats[] = {
    {"qdq", offsetof(struct qd_cli_options, qdq), make_qdq},
    {"ncnn", offsetof(struct qd_cli_options, ncnn_table), make_ncnn},
    {"tensorrt", offsetof(struct qd_cli_options, tensorrt_cache), make_tensorrt},
};

static const char *path_of(const struct qd_cli_options *cli, const struct format *format)
{
    return *(const char *const *)(const void *)((const char *)cli + format->offset);
}

/* Which nodes the plan runs in int8: those are rounded in the file too. */
static enum qd_status find_int8(const struct qd_model *model, bool **ret, int *ret_n, struct qd_error *err)
{
    const struct qd_plan *plan = model->result.int8;
    enum qd_status status =
        qd_alloc_for((void **)ret, (size_t)model->graph->n_nodes + 1, sizeof(bool), "an export", err);

    *ret_n = 0;
    for (int i = 0; i < qd_plan_n_steps(plan) && status == QD_OK; i++) {
        struct qd_step_info info;

        qd_plan_step(plan, i, &info);
        if (!info.node || info.kind != QD_STEP_Q8)
            continue;
        (*ret)[info.node - model->graph->nodes] = true;
        ++*ret_n;
    }
    return status;
}

static enum qd_status write_format(const struct standard *s, const struct format *format, const struct qd_model *model,
                                   int n_int8, json_t *files, struct qd_error *err)
{
    const char *path = path_of(s->cli, format);
    struct qd_buf buf;
    enum qd_status status;

    qd_buf_init(&buf, MAX_FILE_BYTES);
    status = format->make(s, &buf, err);
    if (status == QD_OK)
        status = qd_file_write_atomic(path, buf.bytes, buf.size, err);
    if (status == QD_OK)
        json_array_append_new(files,
                              json_pack("{s:s, s:s, s:I, s:i, s:i}", "format", format->name, "file", path, "bytes",
                                        (json_int_t)buf.size, "nodes", model->graph->n_nodes, "int8_nodes", n_int8));
    if (status == QD_OK && !s->cli->json)
        printf("%s: %d of %d nodes in int8, %.1f MB in %s\n", model->config.name, n_int8, model->graph->n_nodes,
               (double)buf.size / 1e6, path);
    qd_buf_done(&buf);
    return status;
}

static enum qd_status load(const struct qd_cli_options *cli, bool standard, struct qd_model_options *ret_options,
                           struct qd_model **ret, struct qd_error *err)
{
    enum qd_status status = qd_cli_model_options(cli, ret_options, err);

    ret_options->allow_synthetic = standard; /* vectors need pictures */
    ret_options->standard_graph = standard;
    ret_options->max_images = cli->limit;
    if (!standard && !ret_options->profile)
        ret_options->profile = "accelerator";
    if (status == QD_OK)
        status = qd_model_load(cli->path, ret_options, ret, err);
    if (status != QD_OK)
        return status;
    if ((*ret)->synthetic)
        fprintf(stderr, "quantd: no calibration pictures: scales come from synthetic ones\n");
    else
        qd_cli_warn(*ret);
    return QD_OK;
}

static enum qd_status export_standard(const struct qd_cli_options *cli, json_t *files, struct qd_error *err)
{
    struct qd_model_options options;
    struct qd_model *model = NULL;
    bool *int8 = NULL;
    int n_int8;
    enum qd_status status = load(cli, true, &options, &model, err);

    if (status == QD_OK)
        status = find_int8(model, &int8, &n_int8, err);
    for (size_t i = 0; i < QD_ARRAY_SIZE(formats) && status == QD_OK; i++) {
        const struct standard s = {cli, model->graph, int8};

        if (path_of(cli, &formats[i]))
            status = write_format(&s, &formats[i], model, n_int8, files, err);
    }
    qd_free(int8);
    qd_model_unref(model);
    return status;
}

static double percent(int64_t n, int64_t all)
{
    return all ? 100 * (double)n / (double)all : 0;
}

static enum qd_status export_accelerator(const struct qd_cli_options *cli, json_t *files, struct qd_error *err)
{
    struct qd_model_options options;
    struct qd_accelerator_report r;
    struct qd_model *model = NULL;
    enum qd_status status = load(cli, false, &options, &model, err);

    if (status == QD_OK)
        status = qd_accelerator_export(model, &options, cli->accelerator, cli->n_golden ? cli->n_golden : N_GOLDEN,
                                       cli->evaluation_limit ? cli->evaluation_limit : N_COMPARED, &r, err);
    if (status == QD_OK)
        json_array_append_new(
            files, json_pack("{s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:i, s:I, s:i, s:I}", "format", "accelerator",
                             "folder", cli->accelerator, "steps", r.n_steps, "nodes_left_out", r.n_skipped, "golden",
                             (json_int_t)r.n_golden, "pictures", (json_int_t)r.n_pictures, "bytes",
                             (json_int_t)r.n_bytes, "step_bytes_different", (json_int_t)r.n_alone,
                             "step_largest_difference", r.largest_alone, "chain_bytes_different", (json_int_t)r.n_chain,
                             "chain_largest_difference", r.largest_chain, "same_class", (json_int_t)r.n_same_class));
    if (status == QD_OK && !cli->json) {
        printf("%s: %d steps in integers in %s, golden vectors of %zu pictures\n", model->config.name, r.n_steps,
               cli->accelerator, r.n_golden);
        if (r.n_skipped)
            printf("left out, behind the last step: %s\n", r.skipped);
        printf("against quantd's int8 on %zu pictures: %.4f %% of bytes differ by at most %d step by step, %.4f %% by "
               "at most %d along the network; same class %zu\n",
               r.n_pictures, percent(r.n_alone, r.n_bytes), r.largest_alone, percent(r.n_chain, r.n_bytes),
               r.largest_chain, r.n_same_class);
    }
    qd_model_unref(model);
    return status;
}

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {0};
    struct qd_error err = {""};
    bool standard = false;
    json_t *files;
    int code;
    enum qd_status status = QD_OK;

    if (!qd_cli_parse(argc, argv, &qd_command_export, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    for (size_t i = 0; i < QD_ARRAY_SIZE(formats); i++)
        standard = standard || path_of(&cli, &formats[i]);
    if (!standard && !cli.accelerator) {
        fprintf(stderr, "quantd export: expected a format: --qdq, --ncnn-table, --tensorrt-cache or --accelerator\n");
        return 2;
    }
    files = json_array();
    if (standard)
        status = export_standard(&cli, files, &err);
    if (status == QD_OK && cli.accelerator)
        status = export_accelerator(&cli, files, &err);
    if (status == QD_OK && cli.json)
        return qd_cli_print_json(json_pack("{s:s, s:o}", "model", cli.path, "files", files));
    json_decref(files);
    return status == QD_OK ? 0 : qd_cli_fail(&err);
}

const struct qd_command qd_command_export = {"export", "DIR|FILE",
                                             "the calibrated model for other runtimes and hardware", run};
