/*
 * The bundled model through adlq: the same bytes whatever the threads and the order of the files, and a gate that
 * refuses scales that are wrong.
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image/image.h"
#include "quant/known_answers.h"
#include "quant/refine.h"
#include "serve/model.h"
#include "tests/unit/scratch.h"
#include "util/file.h"

static char source[4096];

static struct qd_model *load(const char *folder, const char *images, int n_threads)
{
    struct qd_model_options options = {
        .n_threads = n_threads, .max_batch = 8, .limits = {100000000}, .max_images = 48, .images = images};
    struct qd_error err = {""};
    struct qd_model *model;

    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(folder, &options, &model, &err), &err);
    return model;
}

static void find_source(void)
{
    snprintf(source, sizeof(source), "%s/models/fashion-mnist", getenv("QD_SRC") ? getenv("QD_SRC") : ".");
}

static char *scales_text(const struct qd_model *model)
{
    json_t *json = qd_scales_to_json(model->result.scales, true);
    char *text = json_dumps(json, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));

    json_decref(json);
    return text;
}

/* A folder of links to the calibration pictures whose names sort the other way round. */
static void link_reversed(char *folder)
{
    char path[4096 + 64];
    struct qd_image_set set = {0};
    struct qd_error err = {""};

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/calibration", source);
    ck_assert_ok(qd_image_set_load(path, NULL, 0, &set, &err), &err);
    for (size_t i = 0; i < set.n_files; i++) {
        char *real = realpath(set.files[i].path, NULL);

        snprintf(path, sizeof(path), "%s/%06zu.png", folder, set.n_files - i);
        ck_assert_int_eq(symlink(real, path), 0);
        free(real);
    }
    qd_image_set_done(&set);
}

static void remove_links(const char *folder)
{
    char command[4200];

    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(test_same_bytes)
{
    char folder[] = "/tmp/quantd-reversed-XXXXXX";
    struct qd_model *one, *other;
    char *text;

    find_source();
    one = load(source, NULL, 1);
    text = scales_text(one);
    for (int n_threads = 2; n_threads <= 3; n_threads++) {
        char *again;

        other = load(source, NULL, n_threads);
        again = scales_text(other);
        ck_assert_msg(strcmp(text, again) == 0, "other scales with %d threads", n_threads);
        free(again);
        qd_model_unref(other);
    }
    link_reversed(folder);
    other = load(source, folder, 2);
    remove_links(folder);
    {
        char *again = scales_text(other);

        ck_assert_msg(strcmp(text, again) == 0, "other scales with the files in another order");
        free(again);
    }
    qd_model_unref(other);
    free(text);
    qd_model_unref(one);
}
END_TEST

/* The model's accuracy on the evaluation set with the graph's present scales, through the gate's rule. */
static bool gate_passes(struct qd_model *model, double min_sqnr_db, struct qd_accuracy *ret)
{
    struct qd_plan_options plan = {.precision = QD_PRECISION_Q8, .max_batch = 8};
    struct qd_model_options options = {.n_threads = 2, .limits = {100000000}};
    struct qd_error err = {""};

    qd_plan_free(model->result.int8);
    model->result.int8 = NULL;
    ck_assert_ok(qd_kernels_init(&plan.kernels, &err), &err);
    ck_assert_ok(qd_plan_new(model->graph, &plan, &model->result.int8, &err), &err);
    ck_assert_ok(qd_model_evaluate(model, NULL, NULL, 200, &options, ret, &err), &err);
    return qd_gate_passes(0.95, min_sqnr_db, ret);
}

START_TEST(test_gate_refuses_mutants)
{
    struct qd_model *model;
    struct qd_scales *scales;
    struct qd_accuracy good, bad;
    double threshold;

    find_source();
    model = load(source, NULL, 2);
    scales = model->result.scales;
    ck_assert(gate_passes(model, -INFINITY, &good));
    threshold = good.sqnr_db - 1;
    ck_assert(gate_passes(model, threshold, &good));
    /* One layer's scale is half as large again as what its weights were rounded with. */
    for (size_t l = 0; l < scales->n_layers; l++) {
        float *scale = (float *)(uintptr_t)scales->layers[l].weights.scale;

        ck_assert_ptr_nonnull(scale);
        for (int turn = 0; turn < 2; turn++) {
            for (int o = 0; o < scales->layers[l].n; o++)
                scale[o] *= turn ? 1 / 1.5f : 1.5f;
            if (!turn)
                ck_assert_msg(!gate_passes(model, threshold, &bad), "layer %s: passed", scales->layers[l].name);
        }
    }
    qd_model_unref(model);
}
END_TEST

/* Weights of 4 bits, whose rounding shifts what layers give: 2.5 dB, which the gate asks for, are the correction's. */
START_TEST(test_gate_needs_bias_correction)
{
    struct qd_model_options options = {.n_threads = 2, .max_batch = 8, .limits = {100000000}, .weight_bits = 4};
    struct qd_error err = {""};
    struct qd_accuracy accuracy;
    struct qd_model *model;
    double corrected;

    find_source();
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(source, &options, &model, &err), &err);
    ck_assert(gate_passes(model, -INFINITY, &accuracy));
    corrected = accuracy.sqnr_db;
    qd_model_unref(model);
    ck_assert_ok(qd_stages_named("bias correction", &options.skipped_stages, &err), &err);
    ck_assert_ok(qd_model_load(source, &options, &model, &err), &err);
    ck_assert(!gate_passes(model, corrected - 1, &accuracy));
    ck_assert_msg(accuracy.sqnr_db < corrected - 2, "%.1f dB without, %.1f dB with", accuracy.sqnr_db, corrected);
    qd_model_unref(model);
}
END_TEST

/* Scales that were made for another normalisation. */
START_TEST(test_gate_refuses_other_normalisation)
{
    static const char json[] =
        "{\"onnx\": \"%s/1/model.onnx\", \"preprocess\": {\"color\": \"gray\", \"resize\": \"stretch\","
        "\"size\": [28, 28], \"scale\": 1.0, \"mean\": [0], \"std\": [1]},"
        "\"calibration\": {\"images\": \"%s/calibration\"}}";
    char folder[] = "/tmp/quantd-normalised-XXXXXX", text[3 * 4096 + 512], path[4096];
    struct qd_model *good, *other;
    struct qd_accuracy accuracy;
    struct qd_error err = {""};
    char *full;

    find_source();
    good = load(source, NULL, 2);
    full = realpath(source, NULL);
    ck_assert_ptr_nonnull(full);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(text, sizeof(text), json, full, full);
    snprintf(path, sizeof(path), "%s/model.json", folder);
    ck_assert_ok(qd_file_write_atomic(path, text, strlen(text), &err), &err);
    other = load(folder, NULL, 2);
    remove_links(folder);
    ck_assert_ok(qd_scales_apply(other->result.scales, good->graph, &err), &err);
    ck_assert(!gate_passes(good, -INFINITY, &accuracy));
    qd_model_unref(good);
    qd_model_unref(other);
    free(full);
}
END_TEST

static bool is_power_of_two(float x)
{
    int exponent;

    return frexpf(x, &exponent) == 0.5f;
}

/* Every scale a power of two: after all stages, after none, and with wider multipliers than it needs. */
START_TEST(test_powers_of_two)
{
    static const struct {
        unsigned skipped;
        int multiplier_bits;
    } rows[] = {{0, 0}, {~0u, 0}, {0, 15}};

    find_source();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct qd_model_options options = {.n_threads = 2,
                                           .max_batch = 8,
                                           .limits = {100000000},
                                           .max_images = 24,
                                           .profile = "strict_pot",
                                           .skipped_stages = rows[i].skipped,
                                           .multiplier_bits = rows[i].multiplier_bits};
        struct qd_error err = {""};
        struct qd_model *model;
        const struct qd_scales *s;

        ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
        ck_assert_ok(qd_model_load(source, &options, &model, &err), &err);
        s = model->result.scales;
        ck_assert_int_eq(qd_plan_n_refused(model->result.int8), 0);
        for (size_t v = 0; v < s->n_values; v++) {
            ck_assert_msg(is_power_of_two(s->values[v].q.scale), "%s: %g", s->values[v].name,
                          (double)s->values[v].q.scale);
            for (int c = 0; c < s->values[v].n_channels; c++)
                ck_assert(is_power_of_two(s->values[v].channel_steps[c]));
        }
        for (size_t l = 0; l < s->n_layers; l++)
            for (int o = 0; o < s->layers[l].n; o++)
                ck_assert_msg(is_power_of_two(s->layers[l].weights.scale[o]), "%s: %g", s->layers[l].name,
                              (double)s->layers[l].weights.scale[o]);
        qd_model_unref(model);
    }
}
END_TEST

START_TEST(test_profile_needs_adlq)
{
    struct qd_model_options options = {.n_threads = 1,
                                       .max_batch = 1,
                                       .limits = {100000000},
                                       .max_images = 8,
                                       .profile = "strict_pot",
                                       .method = "mse"};
    struct qd_error err = {""};
    struct qd_model *model;

    find_source();
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_int_eq(qd_model_load(source, &options, &model, &err), QD_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "need adlq"));
}
END_TEST

/* Scales that do not fit leave the graph as it was, whatever stands before the fault. */
START_TEST(test_misfits_change_nothing)
{
    struct qd_error err = {""};
    struct qd_model *model;
    struct qd_scales *s;
    float before;
    char *name;

    find_source();
    model = load(source, NULL, 2);
    s = model->result.scales;
    before = model->graph->values[qd_graph_find_value(model->graph, s->values[0].name)].q.scale;
    s->values[0].q.scale *= 2;
    for (size_t l = 0; l + 1 < s->n_layers; l++)
        s->layers[l].precision = QD_PRECISION_F32;
    name = s->layers[s->n_layers - 1].name;
    s->layers[s->n_layers - 1].name = s->layers[0].name;
    ck_assert_int_eq(qd_scales_apply(s, model->graph, &err), QD_INVALID);
    ck_assert_float_eq(model->graph->values[qd_graph_find_value(model->graph, s->values[0].name)].q.scale, before);
    for (int n = 0; n < model->graph->n_nodes; n++)
        ck_assert_int_eq(model->graph->nodes[n].precision, QD_PRECISION_Q8);
    s->layers[s->n_layers - 1].name = name;
    name = s->values[s->n_values - 1].name;
    for (int turn = 0; turn < 2; turn++) {
        err.text[0] = 0;
        s->values[s->n_values - 1].name = turn ? name + 1 : s->values[1].name;
        ck_assert_int_eq(qd_scales_apply(s, model->graph, &err), QD_INVALID);
        ck_assert_msg(strstr(err.text, turn ? "does not have" : "twice") != NULL, "%s", err.text);
        ck_assert_float_eq(model->graph->values[qd_graph_find_value(model->graph, s->values[0].name)].q.scale, before);
    }
    s->values[s->n_values - 1].name = name;
    qd_model_unref(model);
}
END_TEST

/* The key of the one entry of a cache folder. */
static void find_key(const char *folder, char key[QD_HASH_HEX_SIZE])
{
    DIR *dir = opendir(folder);
    struct dirent *file;

    ck_assert_ptr_nonnull(dir);
    while ((file = readdir(dir)))
        if (strstr(file->d_name, ".json"))
            snprintf(key, QD_HASH_HEX_SIZE, "%.64s", file->d_name);
    closedir(dir);
}

START_TEST(test_known_answers)
{
    struct qd_model_options options = {
        .n_threads = 2, .max_batch = 8, .limits = {100000000}, .max_images = 32, .method = "mse"};
    char folder[QD_SCRATCH_SIZE], key[QD_HASH_HEX_SIZE] = "", good[QD_HASH_HEX_SIZE];
    struct qd_error err = {""};
    struct qd_model *model;
    struct qd_scales *s;

    find_source();
    make_scratch(folder);
    options.cache_folder = folder;
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(source, &options, &model, &err), &err);
    s = model->result.scales;
    memcpy(good, s->known_answers, sizeof(good));
    ck_assert_uint_eq(strlen(good), 64);
    ck_assert_ok(qd_known_answers_check(model->result.int8, 1, good, &err), &err);
    /* Another network's answers, in an entry that is sound: it is not served by. */
    s->known_answers[5] = s->known_answers[5] == '0' ? '1' : '0';
    ck_assert_int_eq(qd_known_answers_check(model->result.int8, 2, s->known_answers, &err), QD_CONFLICT);
    ck_assert_msg(strstr(err.text, "known answers: the kernels") != NULL, "%s", err.text);
    find_key(folder, key);
    err.text[0] = 0;
    ck_assert_ok(qd_cache_save(folder, key, s, &err), &err);
    qd_model_unref(model);
    ck_assert_ok(qd_model_load(source, &options, &model, &err), &err);
    ck_assert(!model->result.from_cache);
    ck_assert_int_eq(model->result.n_warnings, 1);
    ck_assert_msg(strstr(model->result.warnings[0], "known answers") != NULL, "%s", model->result.warnings[0]);
    ck_assert_str_eq(model->result.scales->known_answers, good);
    qd_model_unref(model);
    ck_assert_ok(qd_model_load(source, &options, &model, &err), &err);
    ck_assert(model->result.from_cache);
    qd_model_unref(model);
    remove_scratch(folder);
}
END_TEST

QD_UNIT_MAIN("calibration", test_same_bytes, test_powers_of_two, test_profile_needs_adlq, test_misfits_change_nothing,
             test_gate_refuses_mutants, test_gate_needs_bias_correction, test_gate_refuses_other_normalisation,
             test_known_answers)
