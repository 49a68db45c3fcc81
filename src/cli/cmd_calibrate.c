#include <stdio.h>

#include "cli/compare.h"
#include "cli/report_table.h"
#include "util/file.h"
#include "util/peak.h"

#define MAX_PAGE_BYTES ((size_t)64 << 20)

static const struct qd_cli_flag flags[] = {
    {"--json", NULL, "print the report as one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    {"--plot", "FILE", "write the report as one HTML page", QD_FLAG_TEXT, offsetof(struct qd_cli_options, plot)},
    {"--compare", NULL, "run every method and print a row for each", QD_FLAG_SWITCH,
     offsetof(struct qd_cli_options, compare)},
    {"--output", "FILE", "write --compare's table as Markdown", QD_FLAG_TEXT, offsetof(struct qd_cli_options, output)},
    {"--evaluate", "N", "at most N pictures of the evaluation set for --compare", QD_FLAG_SIZE,
     offsetof(struct qd_cli_options, evaluation_limit)},
    QD_CALIBRATION_FLAGS,
    {"--limit", "N", "at most N calibration pictures", QD_FLAG_SIZE, offsetof(struct qd_cli_options, limit)},
    {"--threads", "N", "threads (default: as OpenMP says)", QD_FLAG_INT, offsetof(struct qd_cli_options, threads)},
    {"--isa", "NAME", "default: the best of", QD_FLAG_ISA, offsetof(struct qd_cli_options, isa)},
    {"--cache", "DIR", "scale cache folder to fill (default: none)", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, cache)},
};

static enum qd_status plot(const struct qd_report *report, const char *path, struct qd_error *err)
{
    struct qd_buf page;
    enum qd_status status;

    qd_buf_init(&page, MAX_PAGE_BYTES);
    status = qd_report_to_html(report, &page, err);
    if (status == QD_OK)
        status = qd_file_write_atomic(path, page.bytes, page.size, err);
    qd_buf_done(&page);
    return status;
}

static int report(const struct qd_model *model, const struct qd_cli_options *cli, int n_threads)
{
    struct qd_report report;
    struct qd_error err = {""};
    int64_t peak_bytes = qd_peak_bytes();
    int code = 0;
    enum qd_status status = qd_report_make(&model->result, model->config.name, model->profile, &report, &err);

    if (status != QD_OK)
        return qd_cli_fail(&err);
    report.peak_bytes = peak_bytes;
    status = qd_report_measure_times(&report, n_threads, &err);
    if (status == QD_OK && cli->plot)
        status = plot(&report, cli->plot, &err);
    if (status != QD_OK)
        code = qd_cli_fail(&err);
    else if (cli->json)
        code = qd_cli_print_json(qd_report_to_json(&report));
    else
        qd_print_report(&report);
    qd_report_done(&report);
    return code;
}

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {0};
    struct qd_model_options options;
    struct qd_model *model = NULL;
    struct qd_error err = {""};
    int code;
    enum qd_status status;

    if (!qd_cli_parse(argc, argv, &qd_command_calibrate, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    if ((cli.output || cli.evaluation_limit) && !cli.compare) {
        fprintf(stderr, "quantd calibrate: --output and --evaluate: expected --compare with them\n");
        return 2;
    }
    if (cli.plot && cli.compare) {
        fprintf(stderr, "quantd calibrate: --plot: expected one method, not --compare\n");
        return 2;
    }
    status = qd_cli_model_options(&cli, &options, &err);
    options.ignore_cache = true;
    options.max_images = cli.limit;
    if (status == QD_OK && cli.compare)
        return qd_compare_methods(&cli, &options);
    if (status == QD_OK)
        status = qd_model_load(cli.path, &options, &model, &err);
    if (status != QD_OK)
        return qd_cli_fail(&err);
    qd_cli_warn(model);
    code = report(model, &cli, options.n_threads);
    qd_model_unref(model);
    return code;
}

const struct qd_command qd_command_calibrate = {"calibrate", "DIR", "derive scales and print the layer report", run};
