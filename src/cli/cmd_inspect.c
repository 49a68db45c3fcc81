#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "op/op.h"
#include "quant/given.h"

static const struct qd_cli_flag flags[] = {
    {"--json", NULL, "print one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    {"--calibration", "DIR", "calibration pictures instead of model.json's", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, calibration)},
    {"--method", "NAME", "calibration method:", QD_FLAG_METHOD, offsetof(struct qd_cli_options, method)},
    {"--isa", "NAME", "default: the best of", QD_FLAG_ISA, offsetof(struct qd_cli_options, isa)},
    {"--cache", "DIR", "scale cache folder (default: none)", QD_FLAG_TEXT, offsetof(struct qd_cli_options, cache)},
};

static const struct qd_value_scale *find_scale(const struct qd_scales *scales, const char *name)
{
    for (size_t i = 0; i < scales->n_values; i++)
        if (strcmp(scales->values[i].name, name) == 0)
            return &scales->values[i];
    return NULL;
}

static json_t *step_to_json(const struct qd_model *model, const struct qd_step_info *info)
{
    const struct qd_value *value = &model->graph->values[info->value];
    const struct qd_value_scale *scale = find_scale(model->result.scales, value->name);
    json_t *shape = json_array();
    json_t *step;

    for (int d = 0; d < value->shape.n_dims; d++)
        json_array_append_new(shape, json_integer(value->shape.dims[d]));
    step = json_pack("{s:s, s:s, s:s, s:I, s:o}", "name", info->name, "op", info->node ? info->node->op->name : "-",
                     "kind", qd_step_kind_name(info->kind), "macs", (json_int_t)info->macs, "shape", shape);
    if (info->why_f32)
        json_object_set_new(step, "why_fp32", json_string(info->why_f32));
    if (scale) {
        json_object_set_new(step, "scale", json_real((double)scale->q.scale));
        json_object_set_new(step, "zero_point", json_integer(scale->q.zero_point));
        json_object_set_new(step, "sqnr_db", qd_json_real(scale->sqnr_db));
        json_object_set_new(step, "cumulative_sqnr_db", qd_json_real(scale->cumulative_db));
    }
    return step;
}

static void print_step(const struct qd_model *model, const struct qd_step_info *info)
{
    const struct qd_value *value = &model->graph->values[info->value];
    const struct qd_value_scale *scale = find_scale(model->result.scales, value->name);
    char shape[QD_SHAPE_TEXT_SIZE];

    printf("%-28.28s %-18s %-16s %-18s %8.2f", info->name, info->node ? info->node->op->name : "",
           qd_step_kind_name(info->kind), qd_shape_text(&value->shape, shape), (double)info->macs / 1e6);
    if (scale && info->kind == QD_STEP_Q8)
        printf("  %10.4g %3d %6.1f %6.1f", (double)scale->q.scale, scale->q.zero_point, scale->sqnr_db,
               scale->cumulative_db);
    printf("%s%s\n", info->why_f32 ? "  " : "", info->why_f32 ? info->why_f32 : "");
}

static int print_plan(const struct qd_model *model, bool as_json)
{
    const struct qd_plan *plan = model->result.int8;
    int64_t macs = qd_plan_macs(plan, false), macs_q8 = qd_plan_macs(plan, true);
    json_t *steps = json_array();
    char pictures[QD_PREPROCESS_TEXT_SIZE];

    if (!as_json) {
        printf("%s: %d nodes, %d steps, %.1f M multiply-accumulates, %.1f %% of them int8\n", model->config.name,
               model->graph->n_nodes, qd_plan_n_steps(plan), (double)macs / 1e6,
               macs ? 100.0 * (double)macs_q8 / (double)macs : 0.0);
        qd_preprocess_text(&model->config.preprocess, pictures);
        printf("pictures: %s%s\n", pictures, model->config.has_preprocess ? "" : " (model.json states none)");
        if (strcmp(model->result.scales->method, QD_METHOD_GIVEN) == 0)
            printf("scales: given by the model\n");
        else
            printf("scales: %s on %d pictures\n", model->result.scales->method, model->result.scales->n_images);
        printf("%-28s %-18s %-16s %-18s %8s  %10s %3s %6s %6s\n", "name", "operator", "runs as", "shape", "M macs",
               "scale", "Z", "alone", "cumul.");
    }
    for (int i = 0; i < qd_plan_n_steps(plan); i++) {
        struct qd_step_info info;

        qd_plan_step(plan, i, &info);
        if (as_json)
            json_array_append_new(steps, step_to_json(model, &info));
        else
            print_step(model, &info);
    }
    if (!as_json) {
        json_decref(steps);
        return 0;
    }
    return qd_cli_print_json(json_pack("{s:s, s:s, s:i, s:I, s:o, s:o}", "model", model->config.name, "method",
                                       model->result.scales->method, "nodes", model->graph->n_nodes, "macs",
                                       (json_int_t)macs, "int8_macs_share",
                                       qd_json_real(macs ? (double)macs_q8 / (double)macs : 0), "steps", steps));
}

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {0};
    struct qd_model_options options;
    struct qd_model *model = NULL;
    struct qd_error err = {""};
    int code;
    enum qd_status status;

    if (!qd_cli_parse(argc, argv, &qd_command_inspect, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    status = qd_cli_model_options(&cli, &options, &err);
    options.allow_synthetic = true;
    if (status == QD_OK)
        status = qd_model_load(cli.path, &options, &model, &err);
    if (status != QD_OK)
        return qd_cli_fail(&err);
    if (model->synthetic)
        fprintf(stderr, "quantd: no calibration pictures: scales come from synthetic ones\n");
    code = print_plan(model, cli.json);
    qd_model_unref(model);
    return code;
}

const struct qd_command qd_command_inspect = {"inspect", "DIR|FILE", "graph, plan and precision per layer", run};
