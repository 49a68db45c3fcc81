#include "quant/pipeline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"

#define MIN_IMAGES_TO_SPLIT 8
#define REPORT_IMAGES 16

/* Pointers into an image set. */
struct parts {
    const struct qd_image_file **all, **calibration, **gate;
    size_t n_all, n_calibration, n_gate;
};

static enum qd_status split(const struct qd_image_set *images, size_t max_images, struct qd_arena *arena,
                            struct parts *p, struct qd_error *err)
{
    size_t n = max_images && images->n_files > max_images ? max_images : images->n_files;

    p->all = qd_arena_array(arena, n, sizeof(*p->all));
    p->calibration = qd_arena_array(arena, n, sizeof(*p->calibration));
    p->gate = qd_arena_array(arena, n, sizeof(*p->gate));
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
    if (!p->n_gate || !p->n_calibration) {
        p->gate = p->calibration = p->all;
        p->n_gate = p->n_calibration = p->n_all;
    }
    return QD_OK;
}

static enum qd_status make_plans(const struct qd_graph *graph, const struct qd_pipeline_options *options,
                                 struct qd_pipeline_result *result, struct qd_error *err)
{
    struct qd_plan_options plan = {QD_PRECISION_F32, options->max_batch > 8 ? options->max_batch : 8, options->kernels,
                                   false, false};
    enum qd_status status = qd_plan_new(graph, &plan, &result->fp32, err);

    plan.precision = QD_PRECISION_Q8;
    return status == QD_OK ? qd_plan_new(graph, &plan, &result->int8, err) : status;
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

static void judge(const struct qd_pipeline_options *options, struct qd_scales *scales)
{
    const struct qd_value_scale *worst = worst_tensor(scales);

    scales->gate_text[0] = 0; /* a cached verdict may be from other thresholds */
    scales->gate_passed = scales->gate.agreement >= options->min_agreement && !(scales->gate.sqnr_db < options->min_sqnr_db);
    if (!scales->gate_passed)
        snprintf(scales->gate_text, sizeof(scales->gate_text),
                 "agreement with fp32 is %.3f (at least %.3f wanted), output SQNR %.1f dB; worst tensor '%.40s' at %.1f dB",
                 scales->gate.agreement, options->min_agreement, scales->gate.sqnr_db, worst ? worst->name : "?",
                 worst ? worst->cumulative_db : (double)NAN);
}

static enum qd_status calibrate(struct qd_graph *graph, const struct parts *parts,
                                const struct qd_pipeline_options *options, struct qd_pipeline_result *result,
                                struct qd_error *err)
{
    struct qd_calibration_options calibration = {
        .method = options->method,
        .activation_bits = options->activation_bits,
        .n_threads = options->n_threads,
        .kernels = options->kernels,
        .preprocess = options->preprocess,
        .limits = options->limits,
        .progress = options->progress,
    };
    struct qd_evaluation_options evaluation = {options->n_threads, options->preprocess, options->limits,
                                               options->progress};
    size_t n_report = parts->n_gate < REPORT_IMAGES ? parts->n_gate : REPORT_IMAGES;
    enum qd_status status = qd_calibrate(graph, parts->calibration, parts->n_calibration, &calibration,
                                         &result->scales, err);

    if (status == QD_OK)
        status = qd_scales_apply(result->scales, graph, err);
    if (status == QD_OK)
        status = make_plans(graph, options, result, err);
    if (status == QD_OK)
        status = qd_evaluate(result->fp32, result->int8, parts->gate, parts->n_gate, &evaluation, &result->scales->gate,
                             err);
    if (status == QD_OK)
        status = qd_measure_layers(graph, options->kernels, parts->gate, n_report, &evaluation, result->scales, err);
    if (status == QD_OK)
        judge(options, result->scales);
    return status;
}

/* The cached scales, applied; anything wrong with them becomes a warning and a calibration. */
static bool use_cache(struct qd_graph *graph, const char *key, const struct qd_pipeline_options *options,
                      struct qd_pipeline_result *result)
{
    struct qd_error why = {""};
    enum qd_status status;

    if (!options->cache_folder || options->ignore_cache)
        return false;
    status = qd_cache_load(options->cache_folder, key, &result->scales, &why);
    if (status == QD_OK)
        status = qd_scales_apply(result->scales, graph, &why);
    if (status == QD_OK)
        status = make_plans(graph, options, result, &why);
    if (status == QD_OK) {
        result->from_cache = true;
        /* The thresholds are not part of the key: they judge, they do not change scales. */
        judge(options, result->scales);
        return true;
    }
    if (status != QD_NOT_FOUND)
        memcpy(result->warnings[0], why.text, sizeof(why.text));
    qd_scales_free(result->scales);
    qd_plan_free(result->fp32);
    qd_plan_free(result->int8);
    result->scales = NULL;
    result->fp32 = result->int8 = NULL;
    return false;
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
    enum qd_status status = split(images, options->max_images, &arena, &parts, err);

    if (status == QD_OK) {
        struct qd_cache_key cache_key = {options->model_hash, options->preprocess,      parts.all,        parts.n_all,
                                         options->method,     options->activation_bits, options->settings};

        qd_cache_key_hex(&cache_key, key);
        if (!use_cache(graph, key, options, &result)) {
            struct qd_error why = {""};

            status = calibrate(graph, &parts, options, &result, err);
            if (status == QD_OK && options->cache_folder &&
                qd_cache_save(options->cache_folder, key, result.scales, &why) != QD_OK)
                memcpy(result.warnings[1], why.text, sizeof(why.text));
        }
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
    qd_plan_free(result->fp32);
    qd_plan_free(result->int8);
    memset(result, 0, sizeof(*result));
}
