#include "quant/pipeline.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "quant/given.h"
#include "quant/known_answers.h"
#include "util/clock.h"

#define MIN_IMAGES_TO_SPLIT 8
#define FEW_IMAGES 32 /* some hundred do */
#define REPORT_IMAGES 16
#define MAX_FALLBACKS 16
#define FALLBACK_SHARE 10 /* a tenth of the MACs may go to fp32 */

/* Pointers into an image set. */
struct parts {
    const struct qd_image_file **all, **calibration, **gate;
    size_t n_all, n_calibration, n_gate;
};

static enum qd_status split(const struct qd_image_set *images, const struct qd_pipeline_options *options,
                            struct qd_arena *arena, struct parts *p, struct qd_error *err)
{
    size_t max = options->max_images, n = max && images->n_files > max ? max : images->n_files;

    p->all = qd_arena_array(arena, n + 1, sizeof(*p->all));
    p->calibration = qd_arena_array(arena, n + 1, sizeof(*p->calibration));
    p->gate = qd_arena_array(arena, n + 1, sizeof(*p->gate));
    if (!p->all || !p->calibration || !p->gate)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for an image set");
    for (size_t i = 0; i < n; i++) {
        const struct qd_image_file *file = &images->files[i];

        p->all[p->n_all++] = file;
        if (n >= MIN_IMAGES_TO_SPLIT && file->hash.bytes[QD_HASH_SIZE - 1] % 4 == 0)
            p->gate[p->n_gate++] = file;
        else
            p->calibration[p->n_calibration++] = file;
    }
    if (!options->method) {
        p->gate = p->all;
        p->n_gate = n;
        p->n_calibration = 0;
    } else if (!p->n_gate || !p->n_calibration) {
        p->gate = p->calibration = p->all;
        p->n_gate = p->n_calibration = p->n_all;
    }
    return QD_OK;
}

enum qd_status qd_pipeline_fp32(const struct qd_plan *int8, struct qd_plan **ret, struct qd_error *err)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_F32,
                                      .max_batch = qd_plan_max_batch(int8),
                                      .kernels = qd_plan_kernels(int8),
                                      .blocks = true};

    return qd_plan_new(qd_plan_graph(int8), &options, ret, err);
}

static enum qd_status remake_int8(const struct qd_graph *graph, const struct qd_pipeline_options *options,
                                  struct qd_pipeline_result *result, struct qd_error *err)
{
    struct qd_plan_options plan = {.precision = QD_PRECISION_Q8,
                                   .max_batch = options->max_batch > 8 ? options->max_batch : 8,
                                   .kernels = options->kernels};

    qd_plan_free(result->int8);
    result->int8 = NULL;
    return qd_plan_new(graph, &plan, &result->int8, err);
}

/* The tensor where int8 departs most from fp32 compared with what feeds it: the largest drop along the list. */
static const struct qd_value_scale *worst_tensor(const struct qd_scales *scales)
{
    const struct qd_value_scale *worst = NULL;

    for (size_t i = 0; i < scales->n_values; i++)
        if (isfinite(scales->values[i].cumulative_db) &&
            (!worst || scales->values[i].cumulative_db < worst->cumulative_db))
            worst = &scales->values[i];
    return worst;
}

bool qd_gate_passes(double min_agreement, double min_sqnr_db, const struct qd_accuracy *a)
{
    return a->agreement >= min_agreement && !(a->sqnr_db < min_sqnr_db);
}

static bool passes(const struct qd_pipeline_options *options, const struct qd_accuracy *a)
{
    return qd_gate_passes(options->min_agreement, options->min_sqnr_db, a);
}

static void judge(const struct qd_pipeline_options *options, struct qd_scales *scales)
{
    const struct qd_value_scale *worst = worst_tensor(scales);
    char agreement[40] = "", db[40] = "";

    if (options->min_agreement > 0)
        snprintf(agreement, sizeof(agreement), " (at least %.3f wanted)", options->min_agreement);
    if (isfinite(options->min_sqnr_db))
        snprintf(db, sizeof(db), " (at least %.1f wanted)", options->min_sqnr_db);
    scales->gate_text[0] = 0; /* a cached verdict may be from other thresholds */
    scales->gate_passed = !scales->gate.n_images || passes(options, &scales->gate);
    if (!scales->gate_passed)
        snprintf(scales->gate_text, sizeof(scales->gate_text),
                 "agreement with fp32 is %.3f%s, output SQNR %.1f dB%s; worst tensor '%.40s' at %.1f dB",
                 scales->gate.agreement, agreement, scales->gate.sqnr_db, db,
                 worst ? worst->name : "?", worst ? worst->cumulative_db : (double)NAN);
}

static void warn(struct qd_pipeline_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct qd_pipeline_result *result, const char *format, ...)
{
    va_list arguments;

    assert(result->n_warnings < QD_MAX_WARNINGS);
    va_start(arguments, format);
    vsnprintf(result->warnings[result->n_warnings++], QD_WARNING_SIZE, format, arguments);
    va_end(arguments);
}

static void warn_about_images(const struct parts *p, size_t n_duplicates, struct qd_pipeline_result *result)
{
    const struct qd_scales *s = result->scales;
    bool is_split = p->gate != p->calibration;
    size_t n_good = (size_t)s->n_images + (is_split ? s->gate.n_images : 0);

    if (n_duplicates)
        warn(result, "%zu calibration pictures have the same content as others and do not count", n_duplicates);
    if (n_good < p->n_all)
        warn(result, "%zu of %zu calibration pictures cannot be read and do not count; the first: %s",
             p->n_all - n_good, p->n_all, s->first_skipped[0] ? s->first_skipped : s->gate.first_skipped);
    if (n_good < FEW_IMAGES)
        warn(result, "only %zu calibration pictures, where some hundred are wanted", n_good);
    if (!is_split)
        warn(result, "no calibration pictures are held back: the gate tests the scales on those that made them");
}

/* What the int8 plan is compared with, and on which pictures. */
struct gate {
    struct parts *parts;
    struct qd_evaluation_options evaluation;
    struct qd_plan *fp32;
};

/* On the pictures held back; where not one of them can be read, on those that calibrated. */
static enum qd_status run_gate(const struct gate *gate, struct qd_pipeline_result *result, struct qd_error *err)
{
    struct parts *parts = gate->parts;
    struct qd_scales *s = result->scales;
    struct qd_error why = {""};
    enum qd_status status =
        qd_evaluate(gate->fp32, result->int8, parts->gate, parts->n_gate, &gate->evaluation, &s->gate, &why);

    if (status == QD_INVALID && parts->n_calibration && parts->gate != parts->calibration) {
        if (!s->first_skipped[0])
            memcpy(s->first_skipped, why.text, sizeof(why.text));
        parts->gate = parts->calibration;
        parts->n_gate = parts->n_calibration;
        return qd_evaluate(gate->fp32, result->int8, parts->gate, parts->n_gate, &gate->evaluation, &s->gate, err);
    }
    return status == QD_OK ? QD_OK : qd_error_set(err, status, "%s", why.text);
}

/* The layer in int8 whose sensitivity per multiply-accumulate is largest and that the budget of MACs allows; -1: none.
 */
static int most_sensitive(const struct qd_scales *s, int64_t budget)
{
    int worst = -1;
    double most = 0;

    for (size_t l = 0; l < s->n_layers; l++) {
        const struct qd_layer_scale *layer = &s->layers[l];
        double per_mac = layer->sensitivity / (double)(layer->macs > 0 ? layer->macs : 1);

        if (layer->precision == QD_PRECISION_F32 || layer->macs > budget || !(per_mac > most))
            continue;
        most = per_mac;
        worst = (int)l;
    }
    return worst;
}

static struct qd_node *node_named(struct qd_graph *graph, const char *name)
{
    for (int n = 0; n < graph->n_nodes; n++)
        if (strcmp(graph->nodes[n].name, name) == 0)
            return &graph->nodes[n];
    return NULL;
}

/*
 * While the gate fails: the most sensitive layer per MAC goes to fp32, up to a tenth of the MACs. Where that does not
 * make it pass, all go back: a slower network that is refused all the same helps nobody.
 */
static enum qd_status fall_back(struct qd_graph *graph, const struct gate *gate,
                                const struct qd_pipeline_options *options, struct qd_pipeline_result *result,
                                struct qd_error *err)
{
    struct qd_scales *s = result->scales;
    struct qd_accuracy before = s->gate;
    int64_t budget = qd_plan_macs(result->int8, false) / FALLBACK_SHARE;
    int chosen[MAX_FALLBACKS], n = 0, l;
    enum qd_status status = QD_OK;

    while (status == QD_OK && !passes(options, &s->gate) && n < MAX_FALLBACKS && (l = most_sensitive(s, budget)) >= 0) {
        budget -= s->layers[l].macs;
        chosen[n++] = l;
        s->layers[l].precision = QD_PRECISION_F32;
        status = qd_scales_apply(s, graph, err);
        if (status == QD_OK)
            status = remake_int8(graph, options, result, err);
        if (status == QD_OK)
            status = run_gate(gate, result, err);
    }
    if (status != QD_OK || passes(options, &s->gate) || !n)
        return status;
    while (n > 0) {
        l = chosen[--n];
        s->layers[l].precision = QD_PRECISION_Q8;
        node_named(graph, s->layers[l].name)->precision = QD_PRECISION_Q8;
    }
    s->gate = before;
    return remake_int8(graph, options, result, err);
}

static enum qd_status calibrate(struct qd_graph *graph, struct parts *parts, const struct qd_pipeline_options *options,
                                struct qd_pipeline_result *result, struct qd_error *err)
{
    struct qd_calibration_options calibration = {
        .method = options->method,
        .form = options->form,
        .skipped_stages = options->skipped_stages,
        .n_threads = options->n_threads,
        .kernels = options->kernels,
        .preprocess = options->preprocess,
        .limits = options->limits,
        .progress = options->progress,
    };
    struct gate gate = {.parts = parts,
                        .evaluation = {options->n_threads, options->preprocess, options->limits, options->progress}};
    enum qd_status status = options->method ? qd_calibrate(graph, parts->calibration, parts->n_calibration,
                                                           &calibration, &result->scales, err)
                                            : qd_scales_given(graph, &result->scales, err);

    if (status == QD_OK && !options->method)
        status = qd_scales_apply(result->scales, graph, err);
    if (status == QD_OK)
        status = remake_int8(graph, options, result, err);
    if (status == QD_OK && parts->n_gate)
        status = qd_pipeline_fp32(result->int8, &gate.fp32, err);
    if (status == QD_OK && parts->n_gate)
        status = run_gate(&gate, result, err);
    if (status == QD_OK && parts->n_gate)
        status = fall_back(graph, &gate, options, result, err);
    qd_plan_free(gate.fp32);
    if (status == QD_OK && parts->n_gate)
        status = qd_measure_layers(graph, options->kernels, parts->gate,
                                   parts->n_gate < REPORT_IMAGES ? parts->n_gate : REPORT_IMAGES, &gate.evaluation,
                                   result->scales, err);
    if (status == QD_OK)
        status = qd_known_answers_make(graph, result->scales->known_answers, err);
    if (status == QD_OK)
        status = qd_known_answers_check(result->int8, options->n_threads, result->scales->known_answers, err);
    if (status == QD_OK)
        judge(options, result->scales);
    return status;
}

/* The cached scales of that name, applied. Anything wrong with them leaves the result as it was. */
static enum qd_status load_cached(struct qd_graph *graph, const char *name, const struct qd_pipeline_options *options,
                                  struct qd_pipeline_result *result, struct qd_error *err)
{
    enum qd_status status = qd_cache_load(options->cache_folder, name, &result->scales, err);

    if (status == QD_OK)
        status = qd_scales_apply(result->scales, graph, err);
    if (status == QD_OK)
        status = remake_int8(graph, options, result, err);
    if (status == QD_OK)
        status = qd_known_answers_check(result->int8, options->n_threads, result->scales->known_answers, err);
    if (status == QD_OK) {
        result->from_cache = true;
        /* The thresholds are part of the key; the verdict is made anew for its text. */
        judge(options, result->scales);
        return QD_OK;
    }
    qd_scales_free(result->scales);
    qd_plan_free(result->int8);
    result->scales = NULL;
    result->int8 = NULL;
    return status;
}

/* By the entry that is asked for, else by the key; what is wrong with either is a warning, and a calibration follows.
 */
static bool use_cache(struct qd_graph *graph, const char *key, const struct qd_pipeline_options *options,
                      struct qd_pipeline_result *result)
{
    const char *names[] = {options->entry, key};

    for (size_t i = 0; i < QD_ARRAY_SIZE(names) && options->cache_folder && !options->ignore_cache; i++) {
        struct qd_error why = {""};
        enum qd_status status = names[i] ? load_cached(graph, names[i], options, result, &why) : QD_NOT_FOUND;

        result->from_entry = status == QD_OK && i == 0;
        if (status == QD_OK)
            return true;
        if (names[i] && (status != QD_NOT_FOUND || i == 0))
            warn(result, "%s", why.text);
    }
    return false;
}

static void make_key(const struct parts *parts, const struct qd_pipeline_options *options,
                     char ret_hex[QD_HASH_HEX_SIZE])
{
    struct qd_cache_key key = {options->model_hash,
                               options->preprocess,
                               parts->all,
                               parts->n_all,
                               options->method,
                               &options->form,
                               options->skipped_stages,
                               options->min_agreement,
                               options->min_sqnr_db,
                               options->settings};

    qd_cache_key_hex(&key, ret_hex);
}

enum qd_status qd_pipeline_key(const struct qd_image_set *images, const struct qd_pipeline_options *options,
                               char ret_hex[QD_HASH_HEX_SIZE], struct qd_error *err)
{
    struct qd_arena arena = {0};
    struct parts parts = {0};
    enum qd_status status = split(images, options, &arena, &parts, err);

    if (status == QD_OK)
        make_key(&parts, options, ret_hex);
    qd_arena_done(&arena);
    return status;
}

/* A calibration, and its scales into the cache. */
static enum qd_status calibrate_anew(struct qd_graph *graph, const struct qd_image_set *images, struct parts *parts,
                                     const char *key, const struct qd_pipeline_options *options,
                                     struct qd_pipeline_result *result, struct qd_error *err)
{
    struct qd_work work;
    struct qd_progress progress = {.work = &work};
    struct qd_pipeline_options tracked = *options;
    struct qd_error why = {""};
    enum qd_status status;

    if (options->progress) {
        progress.step = options->progress->step;
        progress.is_cancelled = options->progress->is_cancelled;
        progress.context = options->progress->context;
    }
    tracked.progress = &progress;
    qd_work_begin(&work, parts->n_calibration, parts->n_gate, options->method && options->method->staged,
                  options->skipped_stages);
    status = calibrate(graph, parts, &tracked, result, err);
    qd_progress_end(&progress);
    if (status == QD_OK && options->cache_folder &&
        qd_cache_save(options->cache_folder, key, result->scales, &why) != QD_OK)
        warn(result, "%s", why.text);
    if (status == QD_OK && options->method)
        warn_about_images(parts, images->n_duplicates, result);
    return status;
}

enum qd_status qd_pipeline_run(struct qd_graph *graph, const struct qd_image_set *images,
                               const struct qd_pipeline_options *options, struct qd_pipeline_result *ret,
                               struct qd_error *err)
{
    struct qd_pipeline_result result = {0};
    struct qd_arena arena = {0};
    struct parts parts = {0};
    char key[QD_HASH_HEX_SIZE];
    int64_t start = qd_now_us();
    enum qd_status status = split(images, options, &arena, &parts, err);

    if (status == QD_OK && options->entry_only) {
        status = load_cached(graph, options->entry, options, &result, err);
        result.from_entry = true;
    } else if (status == QD_OK) {
        make_key(&parts, options, key);
        if (!use_cache(graph, key, options, &result))
            status = calibrate_anew(graph, images, &parts, key, options, &result, err);
    }
    qd_arena_done(&arena);
    result.seconds = (double)(qd_now_us() - start) / 1e6;
    if (status != QD_OK) {
        qd_pipeline_result_done(&result);
        return status;
    }
    *ret = result;
    return QD_OK;
}

void qd_pipeline_result_done(struct qd_pipeline_result *result)
{
    qd_scales_free(result->scales);
    qd_plan_free(result->int8);
    memset(result, 0, sizeof(*result));
}
