#include "serve/model_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/model_inputs.h"
#include "serve/model_keys.h"
#include "serve/versions.h"
#include "util/file.h"

#define MAX_JSON_BYTES ((size_t)1 << 20)
#define MAX_LABELS_BYTES ((size_t)16 << 20)
#define MAX_LABELS 1000000

/* Folders of pictures that model.json need not name. */
#define CALIBRATION "calibration"
#define EVALUATION "evaluation"

static enum qd_status read_text(struct qd_model_config *config, const json_t *value, const char **ret,
                                struct qd_error *err)
{
    if (!json_is_string(value))
        return qd_key_expected("a string", value, err);
    *ret = qd_arena_strdup(&config->arena, json_string_value(value));
    return *ret ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
}

/* A path, relative to the model's folder. */
static enum qd_status read_path(struct qd_model_config *config, const json_t *value, const char **ret,
                                struct qd_error *err)
{
    enum qd_status status = read_text(config, value, ret, err);
    char *path;

    if (status != QD_OK)
        return status;
    path = qd_path_join(config->folder, *ret);
    *ret = path ? qd_arena_strdup(&config->arena, path) : NULL;
    qd_free(path);
    return *ret ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
}

static enum qd_status read_onnx(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_path(c, value, &c->onnx_path, err);
}

static enum qd_status read_labels(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    const char *path = NULL;
    struct qd_buf buf;
    char *text;
    enum qd_status status = read_path(c, value, &path, err);

    if (status == QD_OK)
        status = qd_file_read(path, MAX_LABELS_BYTES, &buf, err);
    if (status != QD_OK)
        return status;
    text = qd_arena_strdup(&c->arena, buf.size ? (const char *)buf.bytes : "");
    qd_buf_done(&buf);
    c->labels =
        text ? qd_arena_array(&c->arena, MAX_LABELS < strlen(text) ? MAX_LABELS : strlen(text) + 1, sizeof(char *))
             : NULL;
    if (!c->labels)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for labels");
    for (char *line = text; line && *line && c->n_labels < MAX_LABELS;) {
        char *next = strchr(line, '\n');

        if (next)
            *next++ = 0;
        line[strcspn(line, "\r")] = 0;
        c->labels[c->n_labels++] = line;
        line = next;
    }
    return QD_OK;
}

static enum qd_status read_calibration_images(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_path(c, value, &c->calibration_folder, err);
}

static enum qd_status read_method(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_text(c, value, &c->method, err);
}

static enum qd_status read_profile(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    const char *names[8];
    size_t n = 0;
    int i = 0;
    enum qd_status status;

    for (; qd_profile_at((int)n) && n < QD_ARRAY_SIZE(names); n++)
        names[n] = qd_profile_at((int)n)->name;
    status = qd_key_choice(value, names, n, &i, err);
    c->profile = qd_profile_at(i);
    return status;
}

static enum qd_status read_bits(const json_t *value, double low, double high, int *ret, struct qd_error *err)
{
    double number = high;
    enum qd_status status = qd_key_number(value, low, high, &number, err);

    if (status == QD_OK && number != rint(number))
        return qd_error_set(err, QD_INVALID, "expected a whole number, found %g", number);
    *ret = (int)number;
    return status;
}

static enum qd_status read_weight_bits(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_bits(value, 4, 8, &c->weight_bits, err);
}

static enum qd_status read_activation_bits(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_bits(value, 4, 8, &c->activation_bits, err);
}

static enum qd_status read_multiplier_bits(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_bits(value, 1, 24, &c->multiplier_bits, err);
}

static enum qd_status read_max_images(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    double number = 512;
    enum qd_status status = qd_key_number(value, 1, 1e6, &number, err);

    c->max_images = (size_t)number;
    return status;
}

static enum qd_status read_calibration(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const struct qd_key keys[] = {
        {"images", read_calibration_images},
        {"method", read_method},
        {"profile", read_profile},
        {"weight_bits", read_weight_bits},
        {"activation_bits", read_activation_bits},
        {"multiplier_bits", read_multiplier_bits},
        {"max_images", read_max_images},
    };

    return qd_keys_read(c, value, keys, QD_ARRAY_SIZE(keys), err);
}

static enum qd_status read_evaluation_images(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_path(c, value, &c->evaluation_folder, err);
}

static enum qd_status read_evaluation_labels(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_path(c, value, &c->evaluation_labels, err);
}

static enum qd_status read_evaluation(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const struct qd_key keys[] = {{"images", read_evaluation_images}, {"labels", read_evaluation_labels}};

    return qd_keys_read(c, value, keys, QD_ARRAY_SIZE(keys), err);
}

static enum qd_status read_min_agreement(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return qd_key_number(value, 0, 1, &c->min_agreement, err);
}

static enum qd_status read_min_sqnr(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return qd_key_number(value, -100, 200, &c->min_sqnr_db, err);
}

static enum qd_status read_required(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    if (!json_is_boolean(value))
        return qd_key_expected("true or false", value, err);
    c->gate_required = json_is_true(value);
    return QD_OK;
}

static enum qd_status read_gate(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const struct qd_key keys[] = {
        {"min_agreement", read_min_agreement}, {"min_sqnr_db", read_min_sqnr}, {"required", read_required}};

    return qd_keys_read(c, value, keys, QD_ARRAY_SIZE(keys), err);
}

static enum qd_status read_layer(const json_t *layer, bool *ret_fp32, struct qd_error *err)
{
    static const char *const names[] = {"int8", "fp32"};
    const json_t *precision = json_object_get(layer, "precision");
    int i = 0;
    enum qd_status status;

    if (!json_is_object(layer) || json_object_size(layer) != 1 || !precision)
        return qd_error_set(err, QD_INVALID, "expected {\"precision\": \"int8\" or \"fp32\"}");
    status = qd_key_choice(precision, names, 2, &i, err);
    *ret_fp32 = i == 1;
    return status;
}

static enum qd_status read_layers(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    const char *name;
    json_t *layer;

    if (!json_is_object(value))
        return qd_key_expected("an object", value, err);
    c->fp32_layers = qd_arena_array(&c->arena, json_object_size(value) + 1, sizeof(char *));
    if (!c->fp32_layers)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
    json_object_foreach((json_t *)(uintptr_t)value, name, layer)
    {
        bool fp32 = false;
        enum qd_status status = read_layer(layer, &fp32, err);

        if (status != QD_OK)
            return qd_error_context(err, status, "%.80s", name);
        if (fp32 && !(c->fp32_layers[c->n_fp32_layers++] = qd_arena_strdup(&c->arena, name)))
            return qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
    }
    return QD_OK;
}

static enum qd_status read_inputs(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return qd_model_inputs_read(value, &c->arena, &c->inputs, &c->n_inputs, err);
}

static const struct qd_key model_keys[] = {
    {"onnx", read_onnx},
    {"preprocess", qd_key_preprocess},
    {"labels", read_labels},
    {"calibration", read_calibration},
    {"evaluation", read_evaluation},
    {"gate", read_gate},
    {"layers", read_layers},
    {"inputs", read_inputs},
};

static enum qd_status read_json(struct qd_model_config *c, const char *path, struct qd_error *err)
{
    struct qd_buf buf;
    json_error_t where;
    json_t *root;
    enum qd_status status = qd_file_read(path, MAX_JSON_BYTES, &buf, err);

    if (status != QD_OK)
        return status;
    root = json_loadb((const char *)buf.bytes, buf.size, JSON_REJECT_DUPLICATES, &where);
    qd_buf_done(&buf);
    if (!root)
        return qd_error_set(err, QD_INVALID, "'%s', line %d: %.120s", path, where.line, where.text);
    status = qd_keys_read(c, root, model_keys, QD_ARRAY_SIZE(model_keys), err);
    json_decref(root);
    return status == QD_OK ? QD_OK : qd_error_context(err, status, "'%s'", path);
}

bool qd_is_usual_folder(const char *name)
{
    return strcmp(name, CALIBRATION) == 0 || strcmp(name, EVALUATION) == 0;
}

/* name NULL: yes. */
static bool is_there(const char *folder, const char *name)
{
    char path[4096];

    return !name || (snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
                     (qd_is_usual_folder(name) ? qd_is_folder(path) : qd_is_file(path)));
}

/* What lies in the folder under its usual name, where model.json names no other. */
static enum qd_status use_usual_names(struct qd_model_config *c, struct qd_error *err)
{
    const struct {
        const char *name, *beside; /* beside: has to be there, too, or NULL */
        bool is_named;
        enum qd_status (*read)(struct qd_model_config *c, const json_t *value, struct qd_error *err);
    } usual[] = {
        {"labels.txt", NULL, c->labels != NULL, read_labels},
        {CALIBRATION, NULL, c->calibration_folder != NULL, read_calibration_images},
        {EVALUATION, c->evaluation_labels ? NULL : "evaluation.tsv", c->evaluation_folder != NULL,
         read_evaluation_images},
        {"evaluation.tsv", EVALUATION, c->evaluation_folder || c->evaluation_labels, read_evaluation_labels},
    };
    enum qd_status status = QD_OK;

    for (size_t i = 0; i < QD_ARRAY_SIZE(usual) && status == QD_OK; i++) {
        json_t *name = json_string(usual[i].name);

        if (!name)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
        if (!usual[i].is_named && is_there(c->folder, usual[i].name) && is_there(c->folder, usual[i].beside))
            status = usual[i].read(c, name, err);
        json_decref(name);
    }
    return status == QD_OK ? QD_OK : qd_error_context(err, status, "'%s'", c->folder);
}

/* The sub-folder of that version that holds model.onnx; wanted 0: the highest. */
static enum qd_status find_version(struct qd_model_config *c, int wanted, struct qd_error *err)
{
    int best = 0, versions[QD_MAX_VERSIONS], n = qd_versions_list(c->folder, versions);
    char path[4096];

    for (int i = 0; i < n && !best; i++)
        best = !wanted || versions[i] == wanted ? versions[i] : 0;
    if (!best && wanted)
        return qd_error_set(err, QD_NOT_FOUND, "model folder '%s': expected %d/model.onnx, found no such file", c->folder,
                            wanted);
    if (!best)
        return qd_error_set(err, QD_NOT_FOUND, "model folder '%s': expected <version>/model.onnx, found none",
                            c->folder);
    c->version = best;
    snprintf(path, sizeof(path), "%s/%d/model.onnx", c->folder, best);
    c->onnx_path = qd_arena_strdup(&c->arena, path);
    return c->onnx_path ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
}

/* model.json names the file: its version is the number of the folder that it lies in, if it is one. */
static enum qd_status use_named(struct qd_model_config *c, int wanted, struct qd_error *err)
{
    const char *file = strrchr(c->onnx_path, '/'), *folder = file;

    while (folder && folder > c->onnx_path && folder[-1] != '/')
        folder--;
    if (folder && file > folder) {
        char name[16];

        snprintf(name, sizeof(name), "%.*s", (int)(file - folder), folder);
        c->version = qd_version_of(name) ? qd_version_of(name) : 1;
    }
    c->names_onnx = true;
    if (wanted && wanted != c->version)
        return qd_error_set(err, QD_NOT_FOUND, "model folder '%s': its model.json names '%s', there is no version %d",
                            c->folder, c->onnx_path, wanted);
    return QD_OK;
}

/* The last part of a path, without .onnx. */
static void set_name(struct qd_model_config *c, const char *path)
{
    size_t end = strlen(path), begin;

    while (end > 1 && path[end - 1] == '/')
        end--;
    begin = end;
    while (begin && path[begin - 1] != '/')
        begin--;
    if (end - begin > 5 && strncmp(path + end - 5, ".onnx", 5) == 0)
        end -= 5;
    snprintf(c->name, sizeof(c->name), "%.*s", (int)(end - begin), path + begin);
}

enum qd_status qd_model_config_load(const char *path, int version, struct qd_model_config *ret, struct qd_error *err)
{
    struct qd_model_config *c = ret;
    char *json_path = NULL;
    enum qd_status status = QD_OK;

    memset(c, 0, sizeof(*c));
    c->version = 1;
    c->profile = qd_profile_at(0);
    c->max_images = 512;
    c->min_agreement = c->min_sqnr_db = NAN;
    c->preprocess = (struct qd_preprocess){.scale = 1, .std = {1, 1, 1}, .pad_value = 114};
    set_name(c, path);
    c->path = qd_arena_strdup(&c->arena, path);
    if (!c->path)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
    if (qd_is_file(path)) {
        c->folder = ".";
        c->onnx_path = qd_arena_strdup(&c->arena, path);
        return c->onnx_path ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
    }
    c->folder = qd_arena_strdup(&c->arena, path);
    json_path = qd_path_join(path, "model.json");
    if (!c->folder || !json_path)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
    else if (!qd_is_folder(path))
        status = qd_error_set(err, QD_NOT_FOUND, "model '%s': no such folder or file", path);
    else if (qd_is_file(json_path))
        status = read_json(c, json_path, err);
    qd_free(json_path);
    if (status == QD_OK)
        status = use_usual_names(c, err);
    if (status == QD_OK)
        status = c->onnx_path ? use_named(c, version, err) : find_version(c, version, err);
    return status;
}

void qd_model_config_done(struct qd_model_config *config)
{
    qd_arena_done(&config->arena);
    memset(config, 0, sizeof(*config));
}
