#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "op/op.h"
#include "util/clock.h"

static const struct qd_cli_flag flags[] = {
    {"--json", NULL, "print one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    {"--batch", "N", "images per run (default 1)", QD_FLAG_INT, offsetof(struct qd_cli_options, batch)},
    {"--threads", "N", "threads (default: as OpenMP says)", QD_FLAG_INT, offsetof(struct qd_cli_options, threads)},
    {"--isa", "NAME", "scalar, avx2 or vnni (default: the best)", QD_FLAG_TEXT, offsetof(struct qd_cli_options, isa)},
    {"--precision", "NAME", "int8 (default) or fp32", QD_FLAG_TEXT, offsetof(struct qd_cli_options, precision)},
    {"--repeats", "N", "timed runs (default 30)", QD_FLAG_INT, offsetof(struct qd_cli_options, repeats)},
    {"--calibration", "DIR", "calibration pictures instead of model.json's", QD_FLAG_TEXT, offsetof(struct qd_cli_options, calibration)},
    {"--cache", "DIR", "scale cache folder (default: none)", QD_FLAG_TEXT, offsetof(struct qd_cli_options, cache)},
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Noise, not zeros: zeros flatter some hardware. */
static void fill_inputs(struct qd_frame *frame, const struct qd_plan *plan, int batch)
{
    uint32_t state = 1;
    int h, w, c;

    qd_plan_input_size(plan, &h, &w, &c);
    for (int i = 0; i < batch; i++)
        for (int j = 0; j < h * w * c; j++)
            qd_frame_input(frame, i)[j] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
}

struct timing {
    double best, median; /* ms per image */
};

static enum qd_status measure(const struct qd_plan *plan, struct qd_frame *frame, int batch, int threads, int repeats,
                              struct timing *ret, struct qd_error *err)
{
    double *times = NULL;
    enum qd_status status = qd_alloc_for((void **)&times, (size_t)repeats, sizeof(double), "timings", err);

    if (status != QD_OK)
        return status;
    fill_inputs(frame, plan, batch);
    for (int i = 0; i < 3; i++)
        qd_frame_run(frame, batch, threads);
    for (int i = 0; i < repeats; i++) {
        int64_t start = qd_now_ns();

        qd_frame_run(frame, batch, threads);
        times[i] = (double)(qd_now_ns() - start) / 1e6 / batch;
    }
    qsort(times, (size_t)repeats, sizeof(double), by_value);
    ret->best = times[0];
    ret->median = times[repeats / 2];
    qd_free(times);
    /* The profile is taken apart from the timing: reading the clock at every step costs something. */
    qd_frame_profile(frame, true);
    for (int i = 0; i < repeats; i++)
        qd_frame_run(frame, batch, threads);
    return QD_OK;
}

static json_t *layers_to_json(const struct qd_plan *plan, const struct qd_frame *frame, int batch, int repeats)
{
    json_t *layers = json_array();

    for (int i = 0; i < qd_plan_n_steps(plan); i++) {
        struct qd_step_info info;

        qd_plan_step(plan, i, &info);
        json_array_append_new(
            layers, json_pack("{s:s, s:s, s:s, s:f, s:I}", "name", info.name, "op", info.node ? info.node->op->name : "-",
                              "precision", qd_step_kind_name(info.kind), "us",
                              (double)qd_frame_step_ns(frame, i) / 1e3 / repeats / batch, "macs", (json_int_t)info.macs));
    }
    return layers;
}

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {.repeats = 30, .batch = 1};
    struct qd_model_options options;
    const struct qd_plan *plan;
    struct qd_model *model = NULL;
    struct qd_frame *frame = NULL;
    struct qd_error err = {""};
    struct timing timing = {0};
    json_t *json;
    int code;
    enum qd_status status;

    if (!qd_cli_parse(argc, argv, &qd_command_bench, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    if (cli.precision && strcmp(cli.precision, "int8") != 0 && strcmp(cli.precision, "fp32") != 0) {
        fprintf(stderr, "quantd bench: --precision: expected int8 or fp32, found '%s'\n", cli.precision);
        return 2;
    }
    if (cli.batch < 1 || cli.repeats < 1) {
        fprintf(stderr, "quantd bench: --batch and --repeats: expected 1 or more\n");
        return 2;
    }
    status = qd_cli_model_options(&cli, &options, &err);
    options.allow_synthetic = true;
    if (status == QD_OK)
        status = qd_model_load(cli.path, &options, &model, &err);
    if (status != QD_OK)
        return qd_cli_fail(&err);
    if (model->synthetic)
        fprintf(stderr, "quantd: no calibration pictures: scales come from synthetic ones\n");
    plan = cli.precision && strcmp(cli.precision, "fp32") == 0 ? model->result.fp32 : model->result.int8;
    status = qd_frame_new(plan, options.n_threads, &frame, &err);
    if (status == QD_OK)
        status = measure(plan, frame, cli.batch, options.n_threads, cli.repeats, &timing, &err);
    if (status != QD_OK) {
        qd_frame_free(frame);
        qd_model_unref(model);
        return qd_cli_fail(&err);
    }
    json = json_pack("{s:s, s:{s:f, s:f}, s:i, s:i, s:s, s:s, s:I, s:f, s:I, s:o}", "model", model->config.name,
                     "ms_per_image", "best", timing.best, "median", timing.median, "batch", cli.batch, "threads",
                     options.n_threads, "isa", options.kernels->name, "precision", cli.precision ? cli.precision : "int8",
                     "macs", (json_int_t)qd_plan_macs(plan, false), "load_seconds", model->load_seconds, "memory_bytes",
                     (json_int_t)(qd_plan_memory_bytes(plan) + qd_plan_frame_bytes(plan, options.n_threads)), "layers",
                     layers_to_json(plan, frame, cli.batch, cli.repeats));
    if (cli.json) {
        code = qd_cli_print_json(json);
    } else {
        json_t *layer;
        size_t i;

        printf("%s: %.3f ms per image best, %.3f median (batch %d, %d threads, %s, %.0f M macs)\n", model->config.name,
               timing.best, timing.median, cli.batch, options.n_threads, options.kernels->name,
               (double)qd_plan_macs(plan, false) / 1e6);
        json_array_foreach(json_object_get(json, "layers"), i, layer)
            printf("  %-28.28s %-18s %-12s %9.1f us\n", json_string_value(json_object_get(layer, "name")),
                   json_string_value(json_object_get(layer, "op")),
                   json_string_value(json_object_get(layer, "precision")), json_number_value(json_object_get(layer, "us")));
        json_decref(json);
        code = 0;
    }
    qd_frame_free(frame);
    qd_model_unref(model);
    return code;
}

const struct qd_command qd_command_bench = {"bench", "DIR|FILE", "time per image, layer by layer", run};
