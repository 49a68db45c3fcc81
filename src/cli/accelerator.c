#include "cli/accelerator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/integer.h"
#include "op/op.h"
#include "util/file.h"

#define MAX_BIN_BYTES ((size_t)4 << 30)
#define MAX_PICTURE_BYTES ((size_t)64 << 20)
#define PATH_SIZE 4096

struct exporter {
    const struct qd_model *model;
    const struct qd_model_options *options;
    const char *folder;
    struct qd_arena arena;
    struct qd_plan *plan; /* int8, every value readable */
    struct qd_frame *frame;
    struct qd_integer_model *integer;
    void **values; /* by value: the reference's */
    void **bytes;  /* by value: the kernels' */
    void *scratch; /* the largest output's size */
    json_t *golden;
    struct qd_accelerator_report report;
};

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for an export");
}

static size_t picture_size(const struct exporter *e)
{
    return (size_t)qd_shape_count(&e->model->graph->values[e->model->graph->pixels].shape);
}

static enum qd_status allocate(struct exporter *e, struct qd_error *err)
{
    const struct qd_graph *graph = e->model->graph;
    size_t largest = picture_size(e);
    int input = graph->pixels;

    e->values = qd_arena_array(&e->arena, (size_t)graph->n_values, sizeof(void *));
    e->bytes = qd_arena_array(&e->arena, (size_t)graph->n_values, sizeof(void *));
    if (!e->values || !e->bytes)
        return no_memory(err);
    e->values[input] = e->bytes[input] = qd_arena_alloc(&e->arena, largest);
    for (int i = 0; i < e->integer->n_steps; i++) {
        const struct qd_integer_step *step = &e->integer->steps[i];
        size_t size = qd_integer_output_size(graph, step);

        e->values[step->output] = qd_arena_alloc(&e->arena, size);
        e->bytes[step->output] = qd_arena_alloc(&e->arena, size);
        if (!e->values[step->output] || !e->bytes[step->output])
            return no_memory(err);
        largest = size > largest ? size : largest;
    }
    e->scratch = qd_arena_alloc(&e->arena, largest);
    return e->scratch && e->values[input] ? QD_OK : no_memory(err);
}

static enum qd_status prepare(struct exporter *e, struct qd_error *err)
{
    const struct qd_plan_options options = {
        .precision = QD_PRECISION_Q8, .max_batch = 1, .kernels = e->options->kernels, .keep_all = true};
    enum qd_status status = qd_plan_new(e->model->graph, &options, &e->plan, err);

    if (status == QD_OK)
        status = qd_frame_new(e->plan, 1, &e->frame, err);
    if (status == QD_OK)
        status = qd_integer_model_new(e->plan, &e->integer, err);
    if (status == QD_OK)
        status = allocate(e, err);
    if (status != QD_OK)
        return status;
    e->report.n_steps = e->integer->n_steps;
    e->report.n_skipped = e->integer->n_skipped;
    for (int i = 0; i < e->integer->n_skipped; i++) {
        size_t used = strlen(e->report.skipped);

        snprintf(e->report.skipped + used, sizeof(e->report.skipped) - used, "%s%s (%s: %s)", i ? ", " : "",
                 e->integer->skipped[i].node->name, e->integer->skipped[i].node->op->name, e->integer->skipped[i].why);
    }
    return QD_OK;
}

static void count(const uint8_t *a, const uint8_t *b, size_t size, int64_t *n, int *largest)
{
    for (size_t i = 0; i < size; i++) {
        int difference = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];

        *n += difference != 0;
        *largest = difference > *largest ? difference : *largest;
    }
}

/* The reference's bytes against the kernels', along the whole network and step by step on the kernels' inputs. */
static void compare_bytes(struct exporter *e)
{
    const struct qd_graph *graph = e->model->graph;

    for (int i = 0; i < e->integer->n_steps; i++)
        if (!e->integer->steps[i].accumulators)
            (void)qd_frame_copy_q8(e->frame, e->integer->steps[i].output, 0, e->bytes[e->integer->steps[i].output]);
    for (int i = 0; i < e->integer->n_steps; i++) {
        const struct qd_integer_step *step = &e->integer->steps[i];
        size_t size = qd_integer_output_size(graph, step);
        void *kernels = e->bytes[step->output];

        if (step->accumulators)
            continue;
        e->report.n_bytes += (int64_t)size;
        count(e->values[step->output], kernels, size, &e->report.n_chain, &e->report.largest_chain);
        e->bytes[step->output] = e->scratch;
        qd_integer_step_run(graph, step, e->bytes);
        e->bytes[step->output] = kernels;
        count(e->scratch, kernels, size, &e->report.n_alone, &e->report.largest_alone);
    }
}

static const struct qd_integer_step *first_output(const struct qd_integer_model *integer)
{
    for (int i = 0; i < integer->n_steps; i++)
        if (integer->steps[i].output == integer->outputs[0])
            return &integer->steps[i];
    return NULL;
}

static int64_t kernels_class(const struct exporter *e, const struct qd_integer_step *step)
{
    int64_t n = qd_shape_count(&e->model->graph->values[step->output].shape), best = 0;
    const float *x = qd_frame_value_f32(e->frame, step->output, 0);

    if (!step->accumulators)
        return qd_integer_class(e->model->graph, step, e->bytes[step->output]);
    for (int64_t i = 1; i < n && x; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static enum qd_status write_vector(const struct exporter *e, int picture, const char *name, const void *bytes,
                                   size_t size, struct qd_error *err)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/golden/%d/%s.bin", e->folder, picture, name);
    return qd_file_write_atomic(path, bytes, size, err);
}

static enum qd_status write_golden(struct exporter *e, int picture, const char *name, int64_t class_index,
                                   struct qd_error *err)
{
    const struct qd_graph *graph = e->model->graph;
    char path[PATH_SIZE], text[32];
    enum qd_status status;

    snprintf(path, sizeof(path), "%s/golden/%d", e->folder, picture);
    status = qd_folder_make(path, err);
    if (status == QD_OK)
        status = write_vector(e, picture, "input", e->values[graph->pixels], picture_size(e), err);
    for (int i = 0; i < e->integer->n_steps && status == QD_OK; i++) {
        const struct qd_integer_step *step = &e->integer->steps[i];

        snprintf(text, sizeof(text), "%03d", i);
        status = write_vector(e, picture, text, e->values[step->output], qd_integer_output_size(graph, step), err);
    }
    if (status != QD_OK)
        return status;
    snprintf(text, sizeof(text), "golden/%d", picture);
    if (json_array_append_new(e->golden, json_pack("{s:s, s:s, s:I}", "picture", name, "folder", text, "class",
                                                   (json_int_t)class_index)) != 0)
        return no_memory(err);
    e->report.n_golden++;
    return QD_OK;
}

static enum qd_status run_picture(struct exporter *e, const struct qd_image_file *file, bool golden,
                                  struct qd_error *err)
{
    const struct qd_integer_step *last = first_output(e->integer);
    const char *slash = strrchr(file->path, '/');
    int64_t class_index;
    struct qd_buf buf;
    enum qd_status status = qd_file_read(file->path, MAX_PICTURE_BYTES, &buf, err);

    if (status != QD_OK)
        return status;
    status = qd_preprocess_run(&e->model->config.preprocess, buf.bytes, buf.size, &e->options->limits,
                               qd_frame_input(e->frame, 0), err);
    qd_buf_done(&buf);
    if (status != QD_OK)
        return qd_error_context(err, status, "'%s'", file->path);
    memcpy(e->values[e->model->graph->pixels], qd_frame_input(e->frame, 0), picture_size(e));
    qd_frame_run(e->frame, 1, 1);
    qd_integer_model_run(e->integer, e->values);
    compare_bytes(e);
    class_index = qd_integer_class(e->model->graph, last, e->values[last->output]);
    e->report.n_same_class += class_index == kernels_class(e, last);
    e->report.n_pictures++;
    return golden ? write_golden(e, (int)e->report.n_golden, slash ? slash + 1 : file->path, class_index, err) : QD_OK;
}

/* Pictures that cannot be read do not count. */
static enum qd_status run_pictures(struct exporter *e, size_t n_golden, size_t n_pictures, struct qd_error *err)
{
    const char *folder =
        e->model->config.evaluation_folder ? e->model->config.evaluation_folder : e->model->images_folder;
    struct qd_image_set set = {0};
    enum qd_status status = qd_image_set_load(folder, NULL, n_pictures, &set, err);

    for (size_t i = 0; i < set.n_files && status == QD_OK; i++) {
        struct qd_error why = {""};

        status = run_picture(e, &set.files[i], e->report.n_golden < n_golden, &why);
        if (status == QD_INVALID || status == QD_UNSUPPORTED || status == QD_TOO_LARGE)
            status = QD_OK;
        else if (status != QD_OK)
            qd_error_set(err, status, "%s", why.text);
    }
    qd_image_set_done(&set);
    return status;
}

/* A line per key, and per element of a list of objects. */
static enum qd_status print_json(const json_t *json, struct qd_buf *out, struct qd_error *err)
{
    const char *key, *comma = "";
    json_t *value, *element;
    size_t i;
    enum qd_status status = qd_buf_printf(out, err, "{");

    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        bool list = json_is_array(value) && json_is_object(json_array_get(value, 0));

        if (status == QD_OK)
            status = qd_buf_printf(out, err, "%s\n\"%s\": %s", comma, key, list ? "[" : "");
        comma = ",";
        for (i = 0; i < (list ? json_array_size(value) : 1) && status == QD_OK; i++) {
            char *text;

            element = list ? json_array_get(value, i) : value;
            text = json_dumps(element, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
            status = text ? qd_buf_printf(out, err, "%s%s%s", i ? "," : "", list ? "\n " : "", text) : no_memory(err);
            free(text);
        }
        if (list && status == QD_OK)
            status = qd_buf_printf(out, err, "]");
    }
    return status == QD_OK ? qd_buf_printf(out, err, "}\n") : status;
}

static enum qd_status write_model(struct exporter *e, struct qd_error *err)
{
    struct qd_buf bin, text;
    json_t *json;
    char path[PATH_SIZE];
    enum qd_status status;

    qd_buf_init(&bin, MAX_BIN_BYTES);
    qd_buf_init(&text, MAX_BIN_BYTES);
    json = qd_integer_to_json(e->integer, &bin);
    if (json && json_object_set_new(json, "model", json_string(e->model->config.name)) == 0 &&
        json_object_set_new(json, "weights", json_string("weights.bin")) == 0 &&
        json_object_set(json, "golden", e->golden) == 0)
        status = print_json(json, &text, err);
    else
        status = no_memory(err);
    snprintf(path, sizeof(path), "%s/weights.bin", e->folder);
    if (status == QD_OK)
        status = qd_file_write_atomic(path, bin.size ? (void *)bin.bytes : (void *)path, bin.size, err);
    snprintf(path, sizeof(path), "%s/model.json", e->folder);
    if (status == QD_OK)
        status = qd_file_write_atomic(path, text.bytes, text.size, err);
    json_decref(json);
    qd_buf_done(&text);
    qd_buf_done(&bin);
    return status;
}

enum qd_status qd_accelerator_export(const struct qd_model *model, const struct qd_model_options *options,
                                     const char *folder, size_t n_golden, size_t n_pictures,
                                     struct qd_accelerator_report *ret, struct qd_error *err)
{
    struct exporter e = {.model = model, .options = options, .folder = folder, .golden = json_array()};
    enum qd_status status = e.golden ? qd_folder_make(folder, err) : no_memory(err);

    if (status == QD_OK)
        status = prepare(&e, err);
    if (status == QD_OK && model->images_folder)
        status = run_pictures(&e, n_golden, n_pictures > n_golden ? n_pictures : n_golden, err);
    if (status == QD_OK)
        status = write_model(&e, err);
    if (status == QD_OK)
        *ret = e.report;
    json_decref(e.golden);
    qd_integer_model_free(e.integer);
    qd_frame_free(e.frame);
    qd_plan_free(e.plan);
    qd_arena_done(&e.arena);
    return status;
}
