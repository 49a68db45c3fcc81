#include "cli/cli.h"

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"
#include "quant/refine.h"
#include "util/name.h"

static const struct qd_command *const qd_commands[] = {
    &qd_command_serve, &qd_command_calibrate, &qd_command_evaluate,  &qd_command_inspect,
    &qd_command_bench, &qd_command_export,    &qd_command_operators,
};

static void print_usage(void)
{
    printf("usage: quantd [COMMAND] [OPTIONS]\n\n");
    for (size_t i = 0; i < QD_ARRAY_SIZE(qd_commands); i++)
        printf("  %-10s %-10s %s\n", qd_commands[i]->name, qd_commands[i]->arguments, qd_commands[i]->summary);
    printf("\n  quantd COMMAND --help   the options of a command\n  quantd --version\n");
}

int qd_cli_main(int argc, char **argv)
{
    const char *names[QD_ARRAY_SIZE(qd_commands)], *nearest;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_usage();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("quantd %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (argc < 2 || argv[1][0] == '-')
        return qd_command_serve.run(argc, argv);
    for (size_t i = 0; i < QD_ARRAY_SIZE(qd_commands); i++) {
        names[i] = qd_commands[i]->name;
        if (strcmp(names[i], argv[1]) == 0)
            return qd_commands[i]->run(argc - 1, argv + 1);
    }
    nearest = qd_nearest_name(argv[1], names, QD_ARRAY_SIZE(qd_commands));
    fprintf(stderr, "quantd: unknown command '%s'%s%s%s\n", argv[1], nearest ? "; did you mean '" : "",
            nearest ? nearest : "", nearest ? "'?" : "");
    return 2;
}

static void print_command_help(const struct qd_command *command, const struct qd_cli_flag *flags, size_t n_flags)
{
    char list[QD_METHOD_LIST_SIZE];

    printf("usage: quantd %s %s [OPTIONS]\n%s\n\n", command->name, command->arguments, command->summary);
    for (size_t i = 0; i < n_flags; i++) {
        list[0] = 0;
        if (flags[i].kind == QD_FLAG_ISA)
            qd_isa_list(list, sizeof(list), false);
        if (flags[i].kind == QD_FLAG_METHOD)
            qd_method_list(list, sizeof(list));
        printf("  %-14s %-6s %s%s%s\n", flags[i].name, flags[i].value ? flags[i].value : "", flags[i].help,
               list[0] ? " " : "", list);
    }
}

static bool set_flag(const struct qd_cli_flag *flag, const char *value, struct qd_cli_options *options)
{
    void *field = (char *)options + flag->offset;
    char *end;
    long number;

    if (flag->kind == QD_FLAG_SWITCH) {
        *(bool *)field = true;
        return true;
    }
    if (flag->kind == QD_FLAG_TEXT || flag->kind == QD_FLAG_ISA || flag->kind == QD_FLAG_METHOD) {
        *(const char **)field = value;
        return true;
    }
    number = strtol(value, &end, 10);
    if (end == value || *end || number < 0 || number > 1000000)
        return false;
    if (flag->kind == QD_FLAG_INT)
        *(int *)field = (int)number;
    else
        *(size_t *)field = (size_t)number;
    return true;
}

bool qd_cli_parse(int argc, char **argv, const struct qd_command *command, const struct qd_cli_flag *flags,
                  size_t n_flags, struct qd_cli_options *ret, int *ret_code)
{
    const char *names[32], *nearest;

    *ret_code = 2;
    for (size_t i = 0; i < n_flags; i++)
        names[i] = flags[i].name;
    for (int a = 1; a < argc; a++) {
        size_t i = 0;

        if (strcmp(argv[a], "--help") == 0) {
            print_command_help(command, flags, n_flags);
            *ret_code = 0;
            return false;
        }
        if (argv[a][0] != '-') {
            if (ret->path) {
                fprintf(stderr, "quantd %s: expected one model, found '%s' and '%s'\n", command->name, ret->path,
                        argv[a]);
                return false;
            }
            ret->path = argv[a];
            continue;
        }
        while (i < n_flags && strcmp(flags[i].name, argv[a]) != 0)
            i++;
        if (i == n_flags) {
            nearest = qd_nearest_name(argv[a], names, n_flags);
            fprintf(stderr, "quantd %s: unknown option '%s'%s%s%s\n", command->name, argv[a],
                    nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
            return false;
        }
        if (flags[i].value && a + 1 == argc) {
            fprintf(stderr, "quantd %s: %s: expected %s after it\n", command->name, flags[i].name, flags[i].value);
            return false;
        }
        if (!set_flag(&flags[i], flags[i].value ? argv[++a] : NULL, ret)) {
            fprintf(stderr, "quantd %s: %s: expected 0 to 1000000, found '%s'\n", command->name, flags[i].name,
                    argv[a]);
            return false;
        }
    }
    if (!ret->path) {
        fprintf(stderr, "quantd %s: expected a model's folder or an .onnx file\n", command->name);
        return false;
    }
    return true;
}

enum qd_status qd_cli_model_options(const struct qd_cli_options *cli, struct qd_model_options *ret,
                                    struct qd_error *err)
{
    static const struct qd_progress progress = {.step = qd_cli_show_progress};
    const char *isa = cli->isa ? cli->isa : getenv("QUANTD_ISA");

    memset(ret, 0, sizeof(*ret));
    ret->n_threads = cli->threads ? cli->threads : qd_default_threads();
    ret->max_batch = cli->batch ? cli->batch : 8;
    ret->cache_folder = cli->cache;
    ret->limits.max_pixels = 178956970;
    ret->method = cli->method;
    ret->images = cli->calibration;
    ret->progress = &progress;
    ret->profile = cli->profile;
    ret->weight_bits = cli->weight_bits;
    ret->activation_bits = cli->activation_bits;
    ret->multiplier_bits = cli->multiplier_bits;
    if (cli->stages) {
        char *end;
        unsigned long n = strtoul(cli->stages, &end, 10);

        if (end == cli->stages || *end || n > 31)
            return qd_error_set(err, QD_INVALID, "--stages: expected 0 to 31, found '%.40s'", cli->stages);
        ret->skipped_stages = ~0u << n;
    }
    if (cli->without) {
        unsigned without;
        enum qd_status status = qd_stages_named(cli->without, &without, err);

        if (status != QD_OK)
            return qd_error_context(err, status, "--without");
        ret->skipped_stages |= without;
    }
    return qd_kernels_named(isa, &ret->kernels, err);
}

int qd_cli_fail(const struct qd_error *err)
{
    fprintf(stderr, "quantd: %s\n", err->text);
    return 1;
}

void qd_cli_warn(const struct qd_model *model)
{
    if (!model->config.has_preprocess) {
        char text[QD_PREPROCESS_TEXT_SIZE];

        qd_preprocess_text(&model->config.preprocess, text);
        fprintf(stderr, "quantd: no preprocess is stated (model.json); taken is: %s\n", text);
    }
    for (int i = 0; i < model->result.n_warnings; i++)
        fprintf(stderr, "quantd: %s\n", model->result.warnings[i]);
}

int qd_cli_print_json(json_t *json)
{
    int failed = !json || json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0;

    printf("\n");
    failed |= fflush(stdout) != 0;
    json_decref(json);
    return failed;
}
