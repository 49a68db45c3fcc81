#include "serve/model.h"

#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "onnx/onnx.h"
#include "op/op.h"
#include "pass/pass.h"
#include "quant/given.h"
#include "serve/generation.h"
#include "serve/synthetic.h"
#include "util/clock.h"
#include "util/file.h"

#define MAX_MODEL_BYTES ((size_t)4 << 30)
#define DEFAULT_METHOD "adlq"
#define MIN_AGREEMENT 0.95 /* of the gate */
#define MIN_SQNR_DB 10     /* of the gate, for a network without classes */

struct qd_model *qd_model_ref(struct qd_model *model)
{
    atomic_fetch_add(&model->n_refs, 1);
    return model;
}

void qd_model_unref(struct qd_model *model)
{
    if (!model || atomic_fetch_sub(&model->n_refs, 1) != 1)
        return;
    if (model->base)
        model->result.scales = NULL; /* the base's */
    qd_live_free(atomic_load(&model->live));
    qd_pipeline_result_done(&model->result);
    qd_model_unref(model->base);
    qd_graph_free(model->graph);
    qd_model_config_done(&model->config);
    qd_free(model->images_folder);
    qd_free(model);
#ifdef __GLIBC__
    /* Without this glibc keeps what is free between other memory: a server that swaps models would never shrink. */
    malloc_trim(0);
#endif
}

const char *qd_model_label(const struct qd_model *model, int64_t class_index)
{
    return class_index >= 0 && (size_t)class_index < model->config.n_labels ? model->config.labels[class_index] : NULL;
}

static enum qd_status mark_fp32_layers(struct qd_model *model, struct qd_error *err)
{
    for (size_t i = 0; i < model->config.n_fp32_layers; i++) {
        bool found = false;

        for (int n = 0; n < model->graph->n_nodes; n++) {
            if (strcmp(model->graph->nodes[n].name, model->config.fp32_layers[i]) != 0)
                continue;
            model->graph->nodes[n].precision = QD_PRECISION_F32;
            found = true;
        }
        if (!found)
            return qd_error_set(err, QD_INVALID,
                                "layers: the network has no layer '%.80s'; 'quantd inspect' lists them",
                                model->config.fp32_layers[i]);
    }
    return QD_OK;
}

static enum qd_status prepare_graph(struct qd_model *model, bool standard, struct qd_error *err)
{
    struct qd_model_config *config = &model->config;
    const struct qd_preprocess *p = &config->preprocess;
    const struct qd_shape *input = &model->graph->values[model->graph->inputs[0]].shape;
    float scale[3], bias[3];
    enum qd_status status = qd_model_config_resolve(config, input->dims[1], input->dims[2], input->dims[3],
                                                    model->graph->takes_bytes, err);

    if (status != QD_OK)
        return status;
    if (model->graph->values[model->graph->outputs[0]].dtype != QD_F32)
        return qd_error_set(err, QD_UNSUPPORTED, "output '%s': expected float, found %s",
                            model->graph->values[model->graph->outputs[0]].name,
                            qd_dtype_name(model->graph->values[model->graph->outputs[0]].dtype));
    for (int c = 0; c < 3; c++) {
        scale[c] = p->scale / p->std[c];
        bias[c] = -p->mean[c] / p->std[c];
    }
    model->graph->forgets_scales = model->forgets_scales;
    status = qd_pass_insert_normalize(model->graph, scale, bias, qd_preprocess_channels(p), err);
    if (status == QD_OK)
        status = standard ? qd_passes_run_standard(model->graph, err) : qd_passes_run(model->graph, err);
    return status == QD_OK ? mark_fp32_layers(model, err) : status;
}

static enum qd_status load_graph(struct qd_model *model, bool standard, struct qd_error *err)
{
    const char *path = model->config.onnx_path, *slash = strrchr(path, '/');
    struct qd_hasher hasher;
    struct qd_onnx_options options = {
        .hasher = &hasher, .fixed = model->config.inputs, .n_fixed = model->config.n_inputs};
    char folder[PATH_MAX];
    struct qd_buf buf;
    enum qd_status status = qd_file_read(path, MAX_MODEL_BYTES, &buf, err);

    if (status != QD_OK)
        return status;
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    options.folder = folder;
    qd_hasher_init(&hasher);
    qd_hasher_add(&hasher, buf.size ? (const void *)buf.bytes : "", buf.size);
    options.height =
        model->config.preprocess.crop_h ? model->config.preprocess.crop_h : model->config.preprocess.size_h;
    options.width = model->config.preprocess.crop_w ? model->config.preprocess.crop_w : model->config.preprocess.size_w;
    status = qd_onnx_load(buf.bytes, buf.size, &options, &model->graph, err);
    qd_buf_done(&buf);
    model->hash = qd_hasher_finish(&hasher);
    if (status != QD_OK)
        return qd_error_context(err, status, "'%s'", model->config.onnx_path);
    return prepare_graph(model, standard, err);
}

/* Whether something asks for a calibration, also where the network has scales of its own. */
static bool wants_calibration(const struct qd_model_config *config, const struct qd_model_options *options)
{
    const char *method = options->method ? options->method : config->method;

    if (method)
        return strcmp(method, QD_METHOD_GIVEN) != 0;
    return options->profile || config->profile != qd_profile_at(0) || options->weight_bits ||
           options->activation_bits || options->multiplier_bits || config->weight_bits || config->activation_bits ||
           config->multiplier_bits;
}

/* size: {h, w} instead of what model.json says, or NULL. options, or NULL: the network as it is. */
static enum qd_status new_model(const char *path, const struct qd_model_options *options, const int *size,
                                struct qd_model **ret, struct qd_error *err)
{
    struct qd_model *model = qd_alloc(sizeof(*model));
    enum qd_status status;

    if (!model)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a model");
    atomic_init(&model->n_refs, 1);
    model->generation = 1;
    status = qd_model_config_load(path, options ? options->version : 0, &model->config, err);
    if (status == QD_OK && size) {
        model->config.has_crop = true;
        model->config.preprocess.crop_h = size[0];
        model->config.preprocess.crop_w = size[1];
    }
    model->forgets_scales = options && wants_calibration(&model->config, options);
    if (status == QD_OK)
        status = load_graph(model, options && options->standard_graph, err);
    if (status != QD_OK) {
        qd_error_context(err, status, "model '%.60s'", model->config.name);
        qd_model_unref(model);
        return status;
    }
    *ret = model;
    return QD_OK;
}

enum qd_status qd_model_load_graph(const char *path, struct qd_model **ret, struct qd_error *err)
{
    return new_model(path, NULL, NULL, ret, err);
}

/* Which of the outputs' dimensions depend on the picture's size: those that differ for pictures twice as large. */
static void find_free_dims(struct qd_model *model)
{
    const struct qd_graph *graph = model->graph;
    const struct qd_preprocess *p = &model->config.preprocess;
    const int size[2] = {p->crop_h * (1 + graph->free_height), p->crop_w * (1 + graph->free_width)};
    struct qd_model_options own = {.version = model->config.version};
    struct qd_model *larger = NULL;
    struct qd_error unused = {""};

    if ((!graph->free_height && !graph->free_width) ||
        new_model(model->config.path, &own, size, &larger, &unused) != QD_OK)
        return;
    model->free_dims = qd_arena_alloc(&model->graph->arena, (size_t)graph->n_outputs);
    for (int o = 0; o < graph->n_outputs && o < larger->graph->n_outputs && model->free_dims; o++) {
        const struct qd_shape *a = &graph->values[graph->outputs[o]].shape;
        const struct qd_shape *b = &larger->graph->values[larger->graph->outputs[o]].shape;

        for (int d = 0; d < a->n_dims; d++)
            model->free_dims[o] |= (uint8_t)((a->n_dims != b->n_dims || a->dims[d] != b->dims[d]) << d);
    }
    qd_model_unref(larger);
}

enum qd_status qd_model_resized(struct qd_model *base, int h, int w, const struct qd_model_options *options,
                                struct qd_model **ret, struct qd_error *err)
{
    struct qd_plan_options plan = {
        .precision = QD_PRECISION_Q8, .max_batch = options->max_batch, .kernels = options->kernels};
    const int size[2] = {h, w};
    struct qd_model_options own = {.method = base->forgets_scales ? DEFAULT_METHOD : QD_METHOD_GIVEN,
                                   .version = base->config.version};
    struct qd_model *model = NULL;
    enum qd_status status = new_model(base->config.path, &own, size, &model, err);

    if (status != QD_OK)
        return status;
    if (memcmp(model->config.preprocess.mean, base->config.preprocess.mean, sizeof(base->config.preprocess.mean)) !=
            0 ||
        memcmp(model->config.preprocess.std, base->config.preprocess.std, sizeof(base->config.preprocess.std)) != 0 ||
        model->config.preprocess.color != base->config.preprocess.color)
        status = qd_error_set(err, QD_CONFLICT, "model.json has changed since the model was loaded");
    model->config.preprocess.resize = QD_STRETCH;
    model->config.preprocess.size_h = h;
    model->config.preprocess.size_w = w;
    model->base = qd_model_ref(base);
    model->result.scales = base->result.scales;
    model->generation = base->generation;
    model->profile = base->profile;
    model->loaded_unix_us = base->loaded_unix_us;
    model->calibrated_unix_us = base->calibrated_unix_us;
    if (status == QD_OK && memcmp(&model->hash, &base->hash, sizeof(model->hash)) != 0)
        status = qd_error_set(err, QD_CONFLICT, "'%s' has changed since the model was loaded", base->config.onnx_path);
    model->graph->multiplier_bits = base->graph->multiplier_bits;
    if (status == QD_OK)
        status = qd_scales_apply(base->result.scales, model->graph, err);
    if (status == QD_OK)
        status = qd_plan_new(model->graph, &plan, &model->result.int8, err);
    if (status != QD_OK) {
        qd_error_context(err, status, "model '%.60s' at %d x %d", base->config.name, h, w);
        qd_model_unref(model);
        return status;
    }
    *ret = model;
    return QD_OK;
}

/* The pictures that calibrate: the folder asked for, the model's own, or made-up ones where that is allowed. */
static enum qd_status load_images(struct qd_model *model, const struct qd_model_options *options,
                                  struct qd_image_set *ret, struct qd_synthetic *synthetic, struct qd_error *err)
{
    const char *folder = options->images ? options->images : model->config.calibration_folder;
    enum qd_status status;

    if (!folder && (qd_graph_has_given_scales(model->graph) || options->entry_only))
        return QD_OK;
    if (!folder && options->allow_synthetic) {
        status = qd_synthetic_make(&model->config.preprocess, synthetic, err);
        folder = synthetic->folder;
        model->synthetic = true;
        if (status != QD_OK)
            return status;
    }
    if (!folder)
        return qd_error_set(
            err, QD_NOT_FOUND,
            "no calibration pictures: expected a folder 'calibration' beside the versions, or the name of one in model.json "
            "(calibration.images) or with --calibration");
    model->images_folder = qd_strdup(folder);
    status = qd_image_set_load(folder, NULL, 0, ret, err);
    return status == QD_OK ? QD_OK : qd_error_context(err, status, "calibration");
}

/* One of two overrides of a number of bits, the first that is given. */
static enum qd_status set_bits(int *bits, int first, int second, int low, int high, const char *what,
                               struct qd_error *err)
{
    int given = first ? first : second;

    if (given && (given < low || given > high))
        return qd_error_set(err, QD_INVALID, "%s: expected %d to %d, found %d", what, low, high, given);
    *bits = given ? given : *bits;
    return QD_OK;
}

/* What a calibration may choose: the profile's form, and the bits that are given besides. */
static enum qd_status form_of(struct qd_model *model, const struct qd_model_options *options,
                              struct qd_calibration_form *ret, struct qd_error *err)
{
    const struct qd_model_config *config = &model->config;
    const struct qd_profile *profile = options->profile ? qd_profile_find(options->profile) : config->profile;
    enum qd_status status;

    if (!profile)
        return qd_error_set(err, QD_INVALID,
                            "profile: expected one of 'default', 'strict_layerwise', ..., found '%.40s'",
                            options->profile);
    model->profile = profile->name;
    *ret = profile->form;
    /* Steps per channel of an activation have no form in ONNX that runtimes take as int8. */
    ret->layerwise = ret->layerwise || options->standard_graph;
    status = set_bits(&ret->weight_bits, options->weight_bits, config->weight_bits, 4, 8, "weight bits", err);
    if (status == QD_OK)
        status = set_bits(&ret->activation_bits, options->activation_bits, config->activation_bits, 4, 8,
                          "activation bits", err);
    if (status == QD_OK)
        status = set_bits(&ret->multiplier_bits, options->multiplier_bits, config->multiplier_bits, 1, 24,
                          "multiplier bits", err);
    return status;
}

/* What the key of a calibration says beside pictures and form; method NULL: it is part of the key by itself. */
static enum qd_status settings_text(const struct qd_model *model, const struct qd_model_options *options,
                                    const char *method, struct qd_buf *ret, struct qd_error *err)
{
    enum qd_status status;

    qd_buf_init(ret, (size_t)1 << 20);
    status = QD_OK;
    if (method) /* two models of the same files have each their own generations */
        status = qd_buf_printf(ret, err, "generations of %s version %d by %s",
                               options->name ? options->name : model->config.name, model->config.version, method);
    if (status == QD_OK)
        status = qd_buf_printf(ret, err, "%slayers:", options->standard_graph ? "standard graph " : "");
    for (size_t i = 0; i < model->config.n_fp32_layers && status == QD_OK; i++)
        status = qd_buf_printf(ret, err, "fp32 %s\n", model->config.fp32_layers[i]);
    return status;
}

/*
 * Which of the generations that are kept is to be loaded. They belong to what the model is by itself: its own pictures,
 * and its own method, whatever a job overrides.
 */
static enum qd_status choose_generation(struct qd_model *model, const struct qd_model_options *options,
                                        const struct qd_image_set *images, const struct qd_pipeline_options *pipeline,
                                        struct qd_error *err)
{
    struct qd_model_options none = {.n_threads = options->n_threads};
    struct qd_pipeline_options own = *pipeline;
    struct qd_image_set own_images = {0};
    const struct qd_image_set *used = images;
    const char *profile = model->profile;
    struct qd_error why = {""};
    struct qd_buf settings;
    enum qd_status status =
        settings_text(model, options, model->config.method ? model->config.method : "its own", &settings, err);

    if (options->images) {
        used = &own_images;
        if (model->config.calibration_folder)
            (void)qd_image_set_load(model->config.calibration_folder, NULL, 0, &own_images, &why);
    }
    own.settings = (const char *)settings.bytes;
    own.max_images = model->config.max_images;
    if (status == QD_OK)
        status = form_of(model, &none, &own.form, err);
    model->profile = profile;
    if (status == QD_OK)
        status = qd_generation_find(model, used, &own, options, &model->entry_generation, err);
    qd_image_set_done(&own_images);
    qd_buf_done(&settings);
    return status;
}

/* The kept generation that is to be loaded, or NULL. */
static const struct qd_generation *kept_generation(const struct qd_model *model)
{
    int at = model->entry_generation ? qd_generations_find(&model->generations, model->entry_generation) : -1;

    return at < 0 ? NULL : &model->generations.list[at];
}

/*
 * Whether the kept scales are for the other form of a quantized network: with its own scales, or forgetting them. Of
 * the form that forgets one cannot see that it was quantized; but then only such a network has kept scales of its own.
 */
static bool needs_other_graph(const struct qd_model *model)
{
    const struct qd_generation *kept = kept_generation(model);
    bool wants_own = kept && strcmp(kept->method, QD_METHOD_GIVEN) == 0;

    return kept && wants_own != qd_graph_has_given_scales(model->graph);
}

/* The pictures, the generation that is to be loaded, and the calibration where it needs one. */
static enum qd_status run_pipeline(struct qd_model *model, const struct qd_model_options *options,
                                   struct qd_pipeline_options *pipeline, struct qd_error *err)
{
    struct qd_image_set images = {0};
    struct qd_synthetic synthetic = {{0}};
    char entry[QD_GENERATION_KEY_SIZE];
    struct qd_buf settings;
    enum qd_status status = settings_text(model, options, NULL, &settings, err);

    pipeline->settings = (const char *)settings.bytes;
    if (status == QD_OK)
        status = load_images(model, options, &images, &synthetic, err);
    if (status == QD_OK && options->keeps_generations && options->cache_folder)
        status = choose_generation(model, options, &images, pipeline, err);
    if (status == QD_OK && model->entry_generation) {
        qd_generation_key(model->base_key, model->entry_generation, entry);
        pipeline->entry = entry;
        pipeline->entry_only = options->generation || options->entry_only;
    }
    if (status == QD_OK && !needs_other_graph(model))
        status = qd_pipeline_run(model->graph, &images, pipeline, &model->result, err);
    qd_image_set_done(&images);
    qd_synthetic_done(&synthetic);
    qd_buf_done(&settings);
    return status;
}

/*
 * Boxes and maps have no class to agree on, and the largest of all their numbers says little: where model.json does not
 * ask for agreement, they have to be recognisable.
 */
static void set_gate(const struct qd_model *model, struct qd_pipeline_options *ret)
{
    const struct qd_graph *graph = model->graph;
    bool has_classes = qd_shape_is_row(&graph->values[graph->outputs[0]].shape);
    double agreement = model->config.min_agreement, sqnr_db = model->config.min_sqnr_db;

    ret->min_agreement = isnan(agreement) ? has_classes ? MIN_AGREEMENT : 0 : agreement;
    ret->min_sqnr_db = isnan(sqnr_db) ? has_classes ? -INFINITY : MIN_SQNR_DB : sqnr_db;
}

static enum qd_status calibrate(struct qd_model *model, const struct qd_model_options *options, struct qd_error *err)
{
    bool given = qd_graph_has_given_scales(model->graph);
    const char *asked = options->method ? options->method : model->config.method;
    const char *name = asked ? asked : DEFAULT_METHOD;
    const struct qd_method *method = given ? NULL : qd_method_find(name);
    struct qd_pipeline_options pipeline = {
        .method = method,
        .skipped_stages = options->skipped_stages,
        .n_threads = options->n_threads,
        .max_batch = options->max_batch,
        .max_images = options->max_images ? options->max_images : model->config.max_images,
        .kernels = options->kernels,
        .preprocess = &model->config.preprocess,
        .limits = options->limits,
        .model_hash = model->hash,
        .cache_folder = options->cache_folder,
        .ignore_cache = options->ignore_cache,
        .progress = options->progress,
    };
    char methods[QD_METHOD_LIST_SIZE];
    enum qd_status status;

    set_gate(model, &pipeline);
    if (!given && strcmp(name, QD_METHOD_GIVEN) == 0)
        return qd_error_set(err, QD_INVALID, "calibration.method: 'model' is for networks that are quantized already");
    if (!given && !method)
        return qd_error_set(err, QD_INVALID, "calibration.method: expected one of %s, found '%.40s'",
                            qd_method_list(methods, sizeof(methods)), name);
    status = form_of(model, options, &pipeline.form, err);
    if (status == QD_OK && method && !method->staged &&
        (pipeline.form.plain_zero || pipeline.form.power_of_two || pipeline.form.multiplier_bits < 24))
        status = qd_error_set(err, QD_INVALID,
                              "method '%s' gives scales of any kind: profile '%s' and multiplier bits need adlq", name,
                              model->profile);
    return status == QD_OK ? run_pipeline(model, options, &pipeline, err) : status;
}

/* One attempt; the model may turn out to need a graph of another kind. */
static enum qd_status load_once(const char *path, const struct qd_model_options *options, struct qd_model **ret,
                                struct qd_error *err)
{
    struct qd_model *model = NULL;
    enum qd_status status = new_model(path, options, NULL, &model, err);

    if (status != QD_OK)
        return status;
    status = calibrate(model, options, err);
    if (status != QD_OK) {
        qd_error_context(err, status, "model '%.60s'", model->config.name);
        qd_model_unref(model);
        return status;
    }
    *ret = model;
    return QD_OK;
}

enum qd_status qd_model_load(const char *path, const struct qd_model_options *options, struct qd_model **ret,
                             struct qd_error *err)
{
    struct qd_model *model = NULL;
    struct qd_error why = {""};
    int64_t start = qd_now_us();
    enum qd_status status = load_once(path, options, &model, err);

    if (status == QD_OK && needs_other_graph(model)) {
        struct qd_model_options other = *options;
        char method[sizeof(kept_generation(model)->method)];

        memcpy(method, kept_generation(model)->method, sizeof(method));
        other.method = method;
        other.entry_only = true;
        qd_model_unref(model);
        model = NULL;
        status = load_once(path, &other, &model, &why);
        if (status != QD_OK && status != QD_CANCELLED && !options->generation) {
            /* What is kept is no use: by what the model says itself. */
            other = *options;
            other.ignores_kept = true;
            status = load_once(path, &other, &model, err);
            if (status == QD_OK)
                snprintf(model->warning, sizeof(model->warning), "%s", why.text);
        } else if (status != QD_OK) {
            qd_error_set(err, status, "%s", why.text);
        }
    }
    if (status != QD_OK)
        return status;
    if (!model->result.int8)
        status =
            qd_error_set(err, QD_INVALID, "generation %d of its scales is not this network's", model->entry_generation);
    if (status == QD_OK && options->keeps_generations)
        status = qd_cache_checksum(model->result.scales, model->scales_sum, err);
    if (status == QD_OK && !model->result.scales->gate_passed && model->config.gate_required && !options->ignore_gate)
        status = qd_error_set(err, QD_CONFLICT, "the gate refused it, and gate.required is set: %s",
                              model->result.scales->gate_text);
    if (status != QD_OK) {
        qd_error_context(err, status, "model '%.60s'", model->config.name);
        qd_model_unref(model);
        return status;
    }
    model->is_recalibration = options->keeps_generations && options->ignore_cache;
    if (options->keeps_generations)
        find_free_dims(model);
    model->loaded_unix_us = model->calibrated_unix_us = qd_unix_time_us();
    if (model->result.from_entry)
        model->calibrated_unix_us = kept_generation(model)->made_unix_us;
    model->load_seconds = (double)(qd_now_us() - start) / 1e6;
    *ret = model;
    return QD_OK;
}

const struct qd_accuracy *qd_model_evaluation(const struct qd_model *model)
{
    return atomic_load(&model->evaluation_state) == QD_EVALUATED ? &model->evaluation : NULL;
}

bool qd_model_is_evaluated(const struct qd_model *model)
{
    return atomic_load(&model->evaluation_state) != QD_NOT_EVALUATED;
}

void qd_model_set_evaluation(struct qd_model *model, const struct qd_accuracy *accuracy)
{
    if (accuracy)
        model->evaluation = *accuracy;
    atomic_store(&model->evaluation_state, accuracy ? QD_EVALUATED : QD_EVALUATION_FAILED);
}

enum qd_status qd_model_evaluate(const struct qd_model *model, const char *images, const char *labels, size_t limit,
                                 const struct qd_model_options *options, struct qd_accuracy *ret, struct qd_error *err)
{
    struct qd_work work;
    struct qd_progress progress = {.work = &work};
    struct qd_evaluation_options evaluation = {options->n_threads, &model->config.preprocess, options->limits,
                                               &progress};
    const char *folder = images ? images : model->config.evaluation_folder;
    const char *labels_path = images ? labels : labels ? labels : model->config.evaluation_labels;
    const struct qd_image_file **files = NULL;
    struct qd_image_set set = {0};
    struct qd_plan *fp32 = NULL;
    enum qd_status status;

    if (!folder)
        return qd_error_set(err, QD_NOT_FOUND,
                            "no evaluation pictures: expected folder 'evaluation' and evaluation.tsv beside the "
                            "versions, or a folder in model.json (evaluation.images) or with --images");
    status = qd_image_set_load(folder, labels_path, limit, &set, err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&files, set.n_files + 1, sizeof(*files), "an image set", err);
    for (size_t i = 0; i < set.n_files && status == QD_OK; i++)
        files[i] = &set.files[i];
    if (options->progress) {
        progress.step = options->progress->step;
        progress.context = options->progress->context;
    }
    qd_work_begin(&work, 0, set.n_files, false, 0);
    if (status == QD_OK)
        status = qd_pipeline_fp32(model->result.int8, &fp32, err);
    if (status == QD_OK)
        status = qd_evaluate(fp32, model->result.int8, files, set.n_files, &evaluation, ret, err);
    qd_progress_end(&progress);
    qd_plan_free(fp32);
    qd_free(files);
    qd_image_set_done(&set);
    return status;
}
