#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/bench_decode.h"
#include "cli/cli.h"
#include "op/op.h"
#include "util/clock.h"

static const struct qd_cli_flag flags[] = {
    {"--json", NULL, "print one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    {"--batch", "N", "images per run (default 1)", QD_FLAG_INT, offsetof(struct qd_cli_options, batch)},
    {"--threads", "N", "threads (default: as OpenMP says)", QD_FLAG_INT, offsetof(struct qd_cli_options, threads)},
    {"--isa", "NAME", "default: the best of", QD_FLAG_ISA, offsetof(struct qd_cli_options, isa)},
    {"--precision", "NAME", "int8 (default) or fp32", QD_FLAG_TEXT, offsetof(struct qd_cli_options, precision)},
    {"--size", "HxW", "of pictures, where the network leaves it free (int8 only)", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, size)},
    {"--decode", "DIR", "decode this folder's pictures in front of every run, as serving does", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, decode)},
    {"--repeats", "N", "timed runs (default 30)", QD_FLAG_INT, offsetof(struct qd_cli_options, repeats)},
    {"--calibration", "DIR", "calibration pictures instead of model.json's", QD_FLAG_TEXT,
     offsetof(struct qd_cli_options, calibration)},
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
    double best, median, mean; /* ms per image */
    double cpu;                /* ms per image of all threads' processor time */
};

static double cpu_ms(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* pictures NULL: the network alone, on noise. */
static void run_once(struct qd_bench_pictures *pictures, struct qd_frame *frame, int batch, int threads)
{
    if (pictures)
        qd_bench_pictures_run(pictures, frame, batch, threads);
    else
        qd_frame_run(frame, batch, threads);
}

static enum qd_status measure(const struct qd_plan *plan, struct qd_bench_pictures *pictures, struct qd_frame *frame,
                              int batch, int threads, int repeats, struct timing *ret, struct qd_error *err)
{
    double *times = NULL;
    enum qd_status status = qd_alloc_for((void **)&times, (size_t)repeats, sizeof(double), "timings", err);

    if (status != QD_OK)
        return status;
    fill_inputs(frame, plan, batch);
    for (int i = 0; i < 3; i++)
        run_once(pictures, frame, batch, threads);
    if (pictures)
        pictures->decode_us = pictures->n_decoded = 0;
    ret->cpu = -cpu_ms();
    for (int i = 0; i < repeats; i++) {
        int64_t start = qd_now_ns();

        run_once(pictures, frame, batch, threads);
        times[i] = (double)(qd_now_ns() - start) / 1e6 / batch;
    }
    ret->cpu = (ret->cpu + cpu_ms()) / repeats / batch;
    qsort(times, (size_t)repeats, sizeof(double), by_value);
    ret->best = times[0];
    ret->median = times[repeats / 2];
    for (int i = 0; i < repeats; i++)
        ret->mean += times[i] / repeats;
    qd_free(times);
    /* The profile is taken apart from the timing: reading the clock at every step costs something. */
    qd_frame_profile(frame, true);
    for (int i = 0; i < repeats; i++)
        qd_frame_run(frame, batch, threads);
    return QD_OK;
}

/* What a plan does, and how fast. */
struct result {
    const struct qd_model *model;
    const struct qd_plan *plan;
    const struct qd_frame *frame;
    const char *precision, *isa;
    int batch, threads, repeats;
    struct timing timing;
    const struct qd_bench_pictures *pictures; /* or NULL */
    double peak;                              /* multiply-accumulates per second */
};

/* Microseconds per image. */
static double step_us(const struct result *r, int step)
{
    return (double)qd_frame_step_ns(r->frame, step) / 1e3 / r->repeats / r->batch;
}

/* The peak is of int8 products; with decoding in the time a share of it says nothing. */
static bool counts_peak(const struct result *r)
{
    return r->plan == r->model->result.int8 && !r->pictures;
}

static double percent_of_peak(const struct result *r)
{
    return 100 * (double)qd_plan_macs(r->plan, false) / (r->timing.best / 1e3) / r->peak;
}

static json_t *layers_to_json(const struct result *r)
{
    json_t *layers = json_array();

    for (int i = 0; i < qd_plan_n_steps(r->plan); i++) {
        struct qd_step_info info;
        double us = step_us(r, i);

        qd_plan_step(r->plan, i, &info);
        json_array_append_new(layers, json_pack("{s:s, s:s, s:s, s:f, s:I, s:f}", "name", info.name, "op",
                                                info.node ? info.node->op->name : "-", "precision",
                                                qd_step_kind_name(info.kind), "us", us, "macs", (json_int_t)info.macs,
                                                "gmacs_per_s", us > 0 ? (double)info.macs / us / 1e3 : 0.0));
    }
    return layers;
}

/* Milliseconds of a batch's team per picture. */
static double decode_ms(const struct qd_bench_pictures *pictures)
{
    return (double)pictures->decode_us / 1e3 / (double)pictures->n_decoded;
}

static int result_to_json(const struct result *r, json_t *float_steps, double float_share)
{
    json_t *json = json_pack(
        "{s:s, s:{s:f, s:f, s:f, s:f}, s:i, s:i, s:s, s:s, s:I, s:o, s:f, s:f, s:I, s:I, s:I, s:f, s:O, s:o}", "model",
        r->model->config.name, "ms_per_image", "best", r->timing.best, "median", r->timing.median, "mean",
        r->timing.mean, "cpu", r->timing.cpu, "batch", r->batch, "threads", r->threads, "isa", r->isa, "precision",
        r->precision, "macs", (json_int_t)qd_plan_macs(r->plan, false), "percent_of_peak",
        counts_peak(r) ? json_real(percent_of_peak(r)) : json_null(), "peak_gmacs_per_s", r->peak / 1e9, "load_seconds",
        r->model->load_seconds, "memory_bytes",
        (json_int_t)(qd_plan_memory_bytes(r->plan) + qd_plan_frame_bytes(r->plan, r->threads)), "plan_bytes",
        (json_int_t)qd_plan_memory_bytes(r->plan), "frame_bytes", (json_int_t)qd_plan_frame_bytes(r->plan, r->threads),
        "float_share", float_share, "float_steps", float_steps, "layers", layers_to_json(r));

    if (r->pictures)
        json_object_set_new(json, "decode",
                            json_pack("{s:I, s:f}", "images", (json_int_t)r->pictures->set.n_files, "ms_per_image",
                                      decode_ms(r->pictures)));
    return qd_cli_print_json(json);
}

/* What an int8 plan does in float, and what it takes to get there: the names, and their share of the time. */
static json_t *find_float_steps(const struct result *r, double *ret_share)
{
    json_t *names = json_array();
    double all = 0, some = 0;

    for (int i = 0; i < qd_plan_n_steps(r->plan); i++) {
        struct qd_step_info info;

        qd_plan_step(r->plan, i, &info);
        all += step_us(r, i);
        if (info.kind == QD_STEP_Q8)
            continue;
        some += step_us(r, i);
        json_array_append_new(names, json_sprintf("%s (%s)", info.name, qd_step_kind_name(info.kind)));
    }
    *ret_share = all > 0 ? some / all : 0;
    return names;
}

static void print_float_steps(const json_t *names, double share)
{
    const json_t *name;
    size_t i;

    printf("  fp32 steps and conversions: %.1f %% of the time", 100 * share);
    json_array_foreach(names, i, name) printf("%s%s", i ? ", " : ": ", json_string_value(name));
    printf("\n");
}

static void print_result(const struct result *r, const json_t *float_steps, double float_share)
{
    printf("%s: %.3f ms per image best, %.3f median (%s, batch %d, %d threads, %s, %.0f M macs)\n",
           r->model->config.name, r->timing.best, r->timing.median, r->precision, r->batch, r->threads, r->isa,
           (double)qd_plan_macs(r->plan, false) / 1e6);
    if (r->pictures)
        printf("  with decoding of %zu pictures: %.3f ms per image of it; %.1f images per second (mean)\n",
               r->pictures->set.n_files, decode_ms(r->pictures), 1e3 / r->timing.mean);
    if (counts_peak(r)) {
        printf("  %.1f %% of the measured peak of %.0f GMAC/s\n", percent_of_peak(r), r->peak / 1e9);
        print_float_steps(float_steps, float_share);
    }
    printf("  loaded in %.2f s; weights and plan %.1f MB, a frame %.1f MB\n", r->model->load_seconds,
           (double)qd_plan_memory_bytes(r->plan) / 1e6, (double)qd_plan_frame_bytes(r->plan, r->threads) / 1e6);
    for (int i = 0; i < qd_plan_n_steps(r->plan); i++) {
        struct qd_step_info info;
        double us = step_us(r, i);

        qd_plan_step(r->plan, i, &info);
        printf("  %-28.28s %-18s %-12s %9.1f us %8.1f GMAC/s\n", info.name, info.node ? info.node->op->name : "-",
               qd_step_kind_name(info.kind), us, us > 0 ? (double)info.macs / us / 1e3 : 0.0);
    }
}

static int report(const struct result *r, bool as_json)
{
    double float_share;
    json_t *float_steps = find_float_steps(r, &float_share);
    int code = 0;

    if (as_json)
        code = result_to_json(r, float_steps, float_share);
    else
        print_result(r, float_steps, float_share);
    json_decref(float_steps);
    return code;
}

static int check_options(const struct qd_cli_options *cli)
{
    if (cli->precision && strcmp(cli->precision, "int8") != 0 && strcmp(cli->precision, "fp32") != 0) {
        fprintf(stderr, "quantd bench: --precision: expected int8 or fp32, found '%s'\n", cli->precision);
        return 2;
    }
    if (cli->batch < 1 || cli->repeats < 1) {
        fprintf(stderr, "quantd bench: --batch and --repeats: expected 1 or more\n");
        return 2;
    }
    if (cli->size && cli->precision && strcmp(cli->precision, "fp32") == 0) {
        fprintf(stderr, "quantd bench: --size: expected --precision int8 with it\n");
        return 2;
    }
    return 0;
}

/* The model for another size of pictures takes the place of the one that was calibrated. */
static enum qd_status use_size(const char *text, const struct qd_model_options *options, struct qd_model **model,
                               struct qd_error *err)
{
    struct qd_model *resized;
    int h, w, end = 0;
    enum qd_status status;

    if (!text)
        return QD_OK;
    if (sscanf(text, "%dx%d%n", &h, &w, &end) != 2 || text[end] || h < 1 || w < 1 || h > 65535 || w > 65535)
        return qd_error_set(err, QD_INVALID, "--size: expected HEIGHTxWIDTH, found '%.40s'", text);
    status = qd_model_resized(*model, h, w, options, &resized, err);
    if (status != QD_OK)
        return status;
    qd_model_unref(*model); /* the other one holds its own reference */
    *model = resized;
    return QD_OK;
}

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {.repeats = 30, .batch = 1};
    struct qd_model_options options;
    struct qd_model *model = NULL;
    struct qd_frame *frame = NULL;
    struct qd_plan *fp32 = NULL;
    struct qd_bench_pictures pictures = {0};
    struct qd_error err = {""};
    struct result result = {0};
    int code;
    enum qd_status status;

    if (!qd_cli_parse(argc, argv, &qd_command_bench, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    code = check_options(&cli);
    if (code)
        return code;
    status = qd_cli_model_options(&cli, &options, &err);
    options.allow_synthetic = true;
    if (status == QD_OK)
        status = qd_model_load(cli.path, &options, &model, &err);
    if (status == QD_OK)
        status = use_size(cli.size, &options, &model, &err);
    if (status == QD_OK && cli.precision && strcmp(cli.precision, "fp32") == 0)
        status = qd_pipeline_fp32(model->result.int8, &fp32, &err);
    if (status != QD_OK) {
        qd_model_unref(model);
        return qd_cli_fail(&err);
    }
    if (model->synthetic)
        fprintf(stderr, "quantd: no calibration pictures: scales come from synthetic ones\n");
    result.model = model;
    result.precision = cli.precision ? cli.precision : "int8";
    result.plan = fp32 ? fp32 : model->result.int8;
    result.isa = options.kernels->name;
    result.batch = cli.batch;
    result.threads = options.n_threads;
    result.repeats = cli.repeats;
    status = qd_frame_new(result.plan, options.n_threads, &frame, &err);
    if (status == QD_OK && cli.decode) {
        status = qd_bench_pictures_init(cli.decode, &model->config.preprocess, &options.limits, &pictures, &err);
        result.pictures = &pictures;
    }
    if (status == QD_OK)
        status = measure(result.plan, cli.decode ? &pictures : NULL, frame, cli.batch, options.n_threads, cli.repeats,
                         &result.timing, &err);
    if (status == QD_OK) {
        result.frame = frame;
        result.peak = qd_peak_macs_per_second(options.kernels, options.n_threads);
        code = report(&result, cli.json);
    } else {
        code = qd_cli_fail(&err);
    }
    qd_bench_pictures_done(&pictures);
    qd_frame_free(frame);
    qd_plan_free(fp32);
    qd_model_unref(model);
    return code;
}

const struct qd_command qd_command_bench = {"bench", "DIR|FILE", "time per image, layer by layer", run};
