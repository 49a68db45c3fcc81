#include "cli/compare.h"

#include <math.h>
#include <stdio.h>

#include "util/file.h"
#include "util/peak.h"

#define MAX_TABLE_BYTES ((size_t)1 << 20)
#define CELL_SIZE 32

/* NAN: not known. */
struct row {
    const char *method;
    double sqnr_db, kl, agreement, int8_top1, fp32_top1, seconds, peak_mib;
    size_t n_calibrated, n_compared;
};

static const struct {
    const char *title; /* in the table; NULL: only in JSON */
    const char *key;
    size_t offset;
    int digits;
    bool percent;
} columns[] = {
    {"SQNR dB", "sqnr_db", offsetof(struct row, sqnr_db), 2, false},
    {"KL", "kl", offsetof(struct row, kl), 5, false},
    {"agreement", "agreement", offsetof(struct row, agreement), 2, true},
    {"int8 top-1", "int8_top1", offsetof(struct row, int8_top1), 2, true},
    {NULL, "fp32_top1", offsetof(struct row, fp32_top1), 2, true},
    {"seconds", "seconds", offsetof(struct row, seconds), 1, false},
    {"peak MiB", "peak_mib", offsetof(struct row, peak_mib), 0, false},
};

static double value_of(const struct row *row, size_t column)
{
    return *(const double *)(const void *)((const char *)row + columns[column].offset);
}

static const char *cell_text(const struct row *row, size_t column, char *text)
{
    double value = value_of(row, column);
    bool percent = columns[column].percent;

    if (isfinite(value))
        snprintf(text, CELL_SIZE, "%.*f%s", columns[column].digits, percent ? 100 * value : value, percent ? " %" : "");
    else
        snprintf(text, CELL_SIZE, "-");
    return text;
}

static void print_titles(void)
{
    printf("%-17s", "method");
    for (size_t c = 0; c < QD_ARRAY_SIZE(columns); c++)
        if (columns[c].title)
            printf(" %10s", columns[c].title);
    printf("\n");
}

static void print_row(const struct row *row)
{
    char text[CELL_SIZE];

    printf("%-17s", row->method);
    for (size_t c = 0; c < QD_ARRAY_SIZE(columns); c++)
        if (columns[c].title)
            printf(" %10s", cell_text(row, c, text));
    printf("\n");
    fflush(stdout); /* the next one may take minutes */
}

static json_t *row_to_json(const struct row *row)
{
    json_t *json = json_pack("{s:s, s:I, s:I}", "method", row->method, "calibration_images",
                             (json_int_t)row->n_calibrated, "images", (json_int_t)row->n_compared);

    for (size_t c = 0; json && c < QD_ARRAY_SIZE(columns); c++)
        json_object_set_new(json, columns[c].key, qd_json_real(value_of(row, c)));
    return json;
}

/* What all rows share, as one sentence. */
static const char *summary(const struct row *row, bool has_evaluation, char *text, size_t text_size)
{
    char top1[CELL_SIZE] = "";
    int n = snprintf(
        text, text_size, "Calibrated on %zu pictures, compared with fp32 on %zu %s", row->n_calibrated, row->n_compared,
        has_evaluation ? "of the evaluation set" : "held back from them (the model names no evaluation set)");

    if (isfinite(row->fp32_top1) && n > 0 && (size_t)n < text_size) {
        snprintf(top1, sizeof(top1), "%.2f %%", 100 * row->fp32_top1);
        snprintf(text + n, text_size - (size_t)n, "; fp32 top-1 %s", top1);
    }
    return text;
}

static enum qd_status write_markdown(const char *path, const char *name, const char *sentence, const struct row *rows,
                                     size_t n_rows, struct qd_error *err)
{
    struct qd_buf buf;
    char text[CELL_SIZE];
    enum qd_status status;

    qd_buf_init(&buf, MAX_TABLE_BYTES);
    status = qd_buf_printf(&buf, err, "# Calibration methods: %s\n\n%s.\n\n| method |", name, sentence);
    for (size_t c = 0; c < QD_ARRAY_SIZE(columns) && status == QD_OK; c++)
        if (columns[c].title)
            status = qd_buf_printf(&buf, err, " %s |", columns[c].title);
    if (status == QD_OK)
        status = qd_buf_printf(&buf, err, "\n| --- |");
    for (size_t c = 0; c < QD_ARRAY_SIZE(columns) && status == QD_OK; c++)
        if (columns[c].title)
            status = qd_buf_printf(&buf, err, " ---: |");
    for (size_t r = 0; r < n_rows && status == QD_OK; r++) {
        status = qd_buf_printf(&buf, err, "\n| `%s` |", rows[r].method);
        for (size_t c = 0; c < QD_ARRAY_SIZE(columns) && status == QD_OK; c++)
            if (columns[c].title)
                status = qd_buf_printf(&buf, err, " %s |", cell_text(&rows[r], c, text));
    }
    if (status == QD_OK)
        status = qd_buf_printf(&buf, err, "\n");
    if (status == QD_OK)
        status = qd_file_write_atomic(path, buf.bytes, buf.size, err);
    qd_buf_done(&buf);
    return status;
}

/* The peak is calibration's and the gate's; comparing afterwards takes the same for every method. */
static enum qd_status run_method(const struct qd_cli_options *cli, const struct qd_model_options *options,
                                 struct row *ret, bool *ret_has_evaluation, char *ret_name, struct qd_error *err)
{
    bool is_peak = qd_peak_reset();
    int64_t peak_bytes;
    struct qd_accuracy a;
    struct qd_model *model;
    enum qd_status status = qd_model_load(cli->path, options, &model, err);

    if (status != QD_OK)
        return status;
    if (options->method == qd_method_at(0)->name) /* the others have the same */
        qd_cli_warn(model);
    peak_bytes = is_peak ? qd_peak_bytes() : -1;
    a = model->result.scales->gate;
    *ret_has_evaluation = model->config.evaluation_folder != NULL;
    if (*ret_has_evaluation)
        status = qd_model_evaluate(model, NULL, NULL, cli->evaluation_limit, options, &a, err);
    *ret = (struct row){
        .method = options->method,
        .sqnr_db = a.sqnr_db,
        .kl = a.kl,
        .agreement = a.agreement,
        .int8_top1 = a.int8_top1,
        .fp32_top1 = a.fp32_top1,
        .seconds = model->result.seconds,
        .peak_mib = peak_bytes < 0 ? (double)NAN : (double)peak_bytes / (1 << 20),
        .n_calibrated = (size_t)model->result.scales->n_images,
        .n_compared = a.n_images,
    };
    snprintf(ret_name, sizeof(model->config.name), "%s", model->config.name);
    qd_model_unref(model);
    return status;
}

int qd_compare_methods(const struct qd_cli_options *cli, const struct qd_model_options *options)
{
    struct qd_model_options each = *options;
    struct row rows[QD_MAX_METHODS] = {{0}};
    char sentence[256], name[sizeof(((struct qd_model *)0)->config.name)];
    json_t *json;
    size_t n_rows = 0;
    bool has_evaluation = false;
    struct qd_error err = {""};

    each.ignore_gate = true;
    if (!cli->json)
        print_titles();
    for (; qd_method_at((int)n_rows); n_rows++) {
        each.method = qd_method_at((int)n_rows)->name;
        if (run_method(cli, &each, &rows[n_rows], &has_evaluation, name, &err) != QD_OK)
            return qd_cli_fail(&err);
        if (!cli->json)
            print_row(&rows[n_rows]);
    }
    summary(&rows[0], has_evaluation, sentence, sizeof(sentence));
    if (cli->output && write_markdown(cli->output, name, sentence, rows, n_rows, &err) != QD_OK)
        return qd_cli_fail(&err);
    if (!cli->json) {
        printf("%s.\n", sentence);
        return 0;
    }
    json = json_array();
    for (size_t r = 0; r < n_rows; r++)
        json_array_append_new(json, row_to_json(&rows[r]));
    return qd_cli_print_json(json);
}
