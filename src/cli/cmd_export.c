#include <stdio.h>

#include "cli/cli.h"
#include "onnx/onnx.h"
#include "util/file.h"

#define MAX_FILE_BYTES ((size_t)2 << 30) /* protobuf's own limit */

static const struct qd_cli_flag flags[] = {
    {"--qdq", "FILE", "write an ONNX model in QDQ form, input as the original's", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, qdq)},
    {"--json", NULL, "print one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    {"--calibration", "DIR", "calibration pictures instead of model.json's", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, calibration)},
    {"--method", "NAME", "calibration method:", QD_FLAG_METHOD, offsetof(struct qd_cli_options, method)},
    {"--profile", "NAME", "default, strict_layerwise, accelerator or strict_pot", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, profile)},
    {"--weight-bits", "N", "4 to 8", QD_FLAG_INT, offsetof(struct qd_cli_options, weight_bits)},
    {"--activation-bits", "N", "4 to 8", QD_FLAG_INT, offsetof(struct qd_cli_options, activation_bits)},
    {"--limit", "N", "at most N calibration pictures", QD_FLAG_SIZE, offsetof(struct qd_cli_options, limit)},
    {"--cache", "DIR", "scale cache folder (default: none)", QD_FLAG_TEXT, offsetof(struct qd_cli_options, cache)},
    {"--threads", "N", "threads (default: as OpenMP says)", QD_FLAG_INT, offsetof(struct qd_cli_options, threads)},
};

/* Which nodes the plan runs in int8: those are rounded in the file too. */
static enum qd_status save_qdq(const struct qd_model *model, const char *path, size_t *ret_size, int *ret_n_int8,
                               struct qd_error *err)
{
    const struct qd_plan *plan = model->result.int8;
    bool *int8 = NULL;
    struct qd_buf buf;
    enum qd_status status =
        qd_alloc_for((void **)&int8, (size_t)model->graph->n_nodes + 1, sizeof(bool), "an export", err);

    if (status != QD_OK)
        return status;
    *ret_n_int8 = 0;
    for (int i = 0; i < qd_plan_n_steps(plan); i++) {
        struct qd_step_info info;

        qd_plan_step(plan, i, &info);
        if (!info.node || info.kind != QD_STEP_Q8)
            continue;
        int8[info.node - model->graph->nodes] = true;
        ++*ret_n_int8;
    }
    qd_buf_init(&buf, MAX_FILE_BYTES);
    status = qd_onnx_save_qdq(model->graph, int8, &buf, err);
    if (status == QD_OK)
        status = qd_file_write_atomic(path, buf.bytes, buf.size, err);
    *ret_size = buf.size;
    qd_buf_done(&buf);
    qd_free(int8);
    return status;
}

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {0};
    struct qd_model_options options;
    struct qd_model *model = NULL;
    struct qd_error err = {""};
    size_t size = 0;
    int code, n_int8 = 0;
    enum qd_status status;

    if (!qd_cli_parse(argc, argv, &qd_command_export, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    if (!cli.qdq) {
        fprintf(stderr, "quantd export: expected a format: --qdq FILE\n");
        return 2;
    }
    status = qd_cli_model_options(&cli, &options, &err);
    options.allow_synthetic = true;
    options.standard_graph = true;
    options.max_images = cli.limit;
    if (status == QD_OK)
        status = qd_model_load(cli.path, &options, &model, &err);
    if (status != QD_OK)
        return qd_cli_fail(&err);
    if (model->synthetic)
        fprintf(stderr, "quantd: no calibration pictures: scales come from synthetic ones\n");
    else
        qd_cli_warn(model);
    status = save_qdq(model, cli.qdq, &size, &n_int8, &err);
    if (status != QD_OK)
        code = qd_cli_fail(&err);
    else if (cli.json)
        code = qd_cli_print_json(json_pack("{s:s, s:s, s:I, s:i, s:i}", "model", model->config.name, "file", cli.qdq,
                                           "bytes", (json_int_t)size, "nodes", model->graph->n_nodes, "int8_nodes",
                                           n_int8));
    else
        code = printf("%s: %d of %d nodes in int8, %.1f MB in %s\n", model->config.name, n_int8, model->graph->n_nodes,
                      (double)size / 1e6, cli.qdq) < 0;
    qd_model_unref(model);
    return code;
}

const struct qd_command qd_command_export = {"export", "DIR|FILE", "the calibrated model as an ONNX file", run};
