#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "quant/given.h"

static const struct qd_cli_flag flags[] = {
    {"--json", NULL, "print one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    {"--images", "DIR", "evaluation pictures instead of model.json's", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, images)},
    {"--labels", "FILE", "their labels: file TAB class index", QD_FLAG_TEXT, offsetof(struct qd_cli_options, labels)},
    QD_CALIBRATION_FLAGS,
    {"--limit", "N", "at most N pictures", QD_FLAG_SIZE, offsetof(struct qd_cli_options, limit)},
    {"--threads", "N", "threads (default: as OpenMP says)", QD_FLAG_INT, offsetof(struct qd_cli_options, threads)},
    {"--isa", "NAME", "default: the best of", QD_FLAG_ISA, offsetof(struct qd_cli_options, isa)},
    {"--cache", "DIR", "scale cache folder (default: none)", QD_FLAG_TEXT, offsetof(struct qd_cli_options, cache)},
};

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {0};
    struct qd_model_options options;
    struct qd_accuracy a = {0};
    struct qd_model *model = NULL;
    struct qd_error err = {""};
    json_t *json;
    int code;
    enum qd_status status;

    if (!qd_cli_parse(argc, argv, &qd_command_evaluate, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    status = qd_cli_model_options(&cli, &options, &err);
    if (status == QD_OK)
        status = qd_model_load(cli.path, &options, &model, &err);
    if (status == QD_OK)
        status = qd_model_evaluate(model, cli.images, cli.labels, cli.limit, &options, &a, &err);
    if (status != QD_OK) {
        qd_model_unref(model);
        return qd_cli_fail(&err);
    }
    qd_cli_warn(model);
    if (a.n_skipped)
        fprintf(stderr, "quantd: %zu of %zu pictures cannot be read and do not count; the first: %s\n", a.n_skipped,
                a.n_skipped + a.n_images, a.first_skipped);
    if (cli.json) {
        json = qd_accuracy_to_json(&a);
        json_object_set_new(json, "model", json_string(model->config.name));
        json_object_set_new(json, "method", json_string(model->result.scales->method));
        json_object_set_new(json, "calibration_seconds", json_real(model->result.seconds));
        json_object_set_new(json, "stages", qd_stages_to_json(model->result.scales));
        json_object_set_new(json, "int8_share_of_macs",
                            json_real((double)qd_plan_macs(model->result.int8, true) /
                                      (double)qd_plan_macs(model->result.int8, false)));
        json_object_set_new(json, "gate_passed", json_boolean(model->result.scales->gate_passed));
        code = qd_cli_print_json(json);
    } else {
        if (strcmp(model->result.scales->method, QD_METHOD_GIVEN) == 0)
            printf("%s: %zu pictures, scales given by the model\n", model->config.name, a.n_images);
        else
            printf("%s: %zu pictures, calibrated by %s on %d in %.1f s%s\n", model->config.name, a.n_images,
                   model->result.scales->method, model->result.scales->n_images, model->result.seconds,
                   model->result.from_cache ? " (from the cache)" : "");
        printf("        top-1    top-5\n");
        printf("fp32  %6.2f %%  %6.2f %%\n", 100 * a.fp32_top1, 100 * a.fp32_top5);
        printf("int8  %6.2f %%  %6.2f %%\n", 100 * a.int8_top1, 100 * a.int8_top5);
        printf("agreement %.2f %%, output SQNR %.1f dB, KL %.5f\n", 100 * a.agreement, a.sqnr_db, a.kl);
        code = 0;
    }
    qd_model_unref(model);
    return code;
}

const struct qd_command qd_command_evaluate = {"evaluate", "DIR", "accuracy of fp32 and int8 on labelled pictures",
                                               run};
