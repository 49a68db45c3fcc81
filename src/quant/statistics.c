#include "quant/statistics.h"

#include <math.h>
#include <string.h>

#include "engine/plan.h"
#include "quant/linear.h"

/* What the images that stages try things on may take, as bytes. */
#define MAX_KEPT_BYTES ((size_t)256 << 20)

struct collector {
    struct qd_statistics *s;
    const struct qd_statistics_options *options;
    struct qd_frame *frame;
    int samples_per_image;
    int max_kept;
    size_t input_size;
    int64_t n_outputs;        /* floats of all outputs */
    enum qd_status *statuses; /* by value: of adding in parallel */
    float **rows;             /* by layer: an image's samples */
    float **rooms;            /* by thread: the floats of one value */
};

bool qd_is_measured(const struct qd_graph *graph, int v)
{
    return graph->values[v].producer >= 0 && graph->values[v].dtype == QD_F32 && !graph->values[v].data;
}

int64_t qd_largest_count(const struct qd_graph *graph)
{
    int64_t largest = 1;

    for (int v = 0; v < graph->n_values; v++) {
        int64_t count = graph->values[v].data ? 0 : qd_shape_count(&graph->values[v].shape);

        largest = count > largest ? count : largest;
    }
    return largest;
}

int qd_logits_of(const struct qd_graph *graph, int output)
{
    int value = qd_logits_value(graph, output);

    return qd_is_measured(graph, value) ? value : QD_NO_VALUE;
}

const struct qd_layer_statistics *qd_layer_of(const struct qd_statistics *s, int node)
{
    for (int l = 0; l < s->n_layers; l++)
        if (s->layers[l].node == node)
            return &s->layers[l];
    return NULL;
}

/* Steele, Lea and Flood's splitmix64. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

int qd_sample_count(const struct qd_layer_statistics *layer, int wanted)
{
    int64_t pixels = (int64_t)layer->layer.out_h * layer->layer.out_w;

    return pixels < wanted ? (int)pixels : wanted;
}

int64_t qd_sample_position(const struct qd_layer_statistics *layer, uint64_t image_hash, int i)
{
    int64_t pixels = (int64_t)layer->layer.out_h * layer->layer.out_w;
    uint64_t seed = mix(mix(image_hash + (uint64_t)layer->node) + (uint64_t)i);

    return pixels == 1 ? 0 : (int64_t)(seed % (uint64_t)pixels);
}

void qd_sample_row(const struct qd_layer_statistics *layer, const float *image, int64_t position, int group, float *row)
{
    const struct qd_layer *l = &layer->layer;
    const struct qd_window *window = &l->window;
    int c_group = l->c / l->group;
    int64_t y0, x0;

    if (l->rows) {
        memcpy(row, image + position * l->c, (size_t)l->c * sizeof(float));
        return;
    }
    y0 = position / l->out_w * window->stride[0] - window->pad_begin[0];
    x0 = position % l->out_w * window->stride[1] - window->pad_begin[1];
    for (int c = group * c_group; c < (group + 1) * c_group; c++) {
        const float *plane = image + (int64_t)c * l->h * l->w;
        float pad = layer->pad ? layer->pad[c] : 0;

        for (int64_t ky = 0; ky < window->kernel[0]; ky++) {
            int64_t y = y0 + ky * window->dilation[0];

            for (int64_t kx = 0; kx < window->kernel[1]; kx++) {
                int64_t x = x0 + kx * window->dilation[1];

                *row++ = y >= 0 && y < l->h && x >= 0 && x < l->w ? plane[y * l->w + x] : pad;
            }
        }
    }
}

float qd_sample_output(const struct qd_layer_statistics *layer, const float *image, int64_t position, int channel)
{
    const struct qd_layer *l = &layer->layer;

    return l->rows ? image[position * l->n + channel] : image[(int64_t)channel * l->out_h * l->out_w + position];
}

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for calibration statistics");
}

static enum qd_status find_layer(struct qd_statistics *s, int node, struct qd_error *err)
{
    struct qd_layer_statistics *l = &s->layers[s->n_layers];
    const struct qd_op *op = s->graph->nodes[node].op;
    struct qd_q8_padding padding = {0};
    size_t groups, k;
    struct qd_error why = {""};
    enum qd_status status;

    if (!op->layer || !op->supports_q8 || !op->supports_q8(s->graph, &s->graph->nodes[node]))
        return QD_OK;
    status = op->layer(s->graph, &s->graph->nodes[node], &s->arena, &l->layer, &why);
    if (status == QD_UNSUPPORTED)
        return QD_OK;
    if (status != QD_OK)
        return qd_error_set(err, status, "%s", why.text);
    if (op->padding_q8)
        op->padding_q8(s->graph, &s->graph->nodes[node], &padding);
    l->pad = padding.value;
    l->node = node;
    l->grouped = l->layer.group > 1;
    l->k = (int)(l->layer.c / l->layer.group * l->layer.window.kernel[0] * l->layer.window.kernel[1]);
    groups = (size_t)l->layer.group;
    k = (size_t)l->k;
    l->squares = qd_arena_array(&s->arena, groups * k, sizeof(float));
    l->targets = qd_arena_array(&s->arena, (size_t)s->n_sweep * QD_TARGET_SAMPLES * (size_t)l->layer.n, sizeof(float));
    if (l->k <= QD_MAX_MOMENT_K)
        l->moments = qd_arena_array(&s->arena, groups * k * k, sizeof(float));
    if (!l->squares || !l->targets || (l->k <= QD_MAX_MOMENT_K && !l->moments))
        return no_memory(err);
    s->n_layers++;
    return QD_OK;
}

/* Good until this thread reads another one. */
static const float *read_value(const struct collector *c, int value, int image)
{
    return qd_frame_read_f32(c->frame, value, image, c->rooms[qd_this_thread()]);
}

/* The layer's fp32 output at the first positions of one of the sweep's images. */
static void add_targets(struct collector *c, const struct qd_layer_statistics *l, int image, int number)
{
    const float *y = read_value(c, c->s->graph->nodes[l->node].outputs[0], image);
    float *out = l->targets + (ptrdiff_t)number * QD_TARGET_SAMPLES * l->layer.n;

    for (int i = 0; i < qd_sample_count(l, QD_TARGET_SAMPLES); i++) {
        int64_t at = qd_sample_position(l, c->s->hashes[number], i);

        for (int o = 0; o < l->layer.n; o++)
            *out++ = qd_sample_output(l, y, at, o);
    }
}

/* One image's samples of one layer: the moments', and the targets where the image is one of the sweep's. */
static void add_layer(struct collector *c, int at, int image, int number)
{
    struct qd_layer_statistics *l = &c->s->layers[at];
    const float *x = read_value(c, c->s->graph->nodes[l->node].inputs[0], image);
    int n = qd_sample_count(l, c->samples_per_image);
    float *rows = c->rows[at];

    for (int g = 0; g < l->layer.group; g++) {
        float *squares = l->squares + (ptrdiff_t)g * l->k;

        for (int i = 0; i < n; i++) {
            float *row = rows + (ptrdiff_t)i * l->k;

            qd_sample_row(l, x, qd_sample_position(l, c->s->hashes[number], i), g, row);
            for (int j = 0; j < l->k; j++)
                squares[j] += row[j] * row[j];
        }
        if (l->moments)
            qd_moments_add(l->moments + (ptrdiff_t)g * l->k * l->k, rows, n, l->k);
    }
    l->n_samples += n;
    if (number < c->s->n_sweep)
        add_targets(c, l, image, number);
}

static void add_channels(struct qd_channel_statistics *channels, const float *x, int64_t n_channels, int64_t pixels)
{
    for (int64_t c = 0; c < n_channels; c++) {
        struct qd_channel_statistics *s = &channels[c];

        for (int64_t i = 0; i < pixels; i++, x++) {
            uint32_t bits;
            int bin;

            memcpy(&bits, x, sizeof(bits));
            bin = (int)((bits & 0x7fffffff) >> 20) - 8 * (127 + QD_CHANNEL_LOWEST);
            s->min = *x < s->min ? *x : s->min;
            s->max = *x > s->max ? *x : s->max;
            if (bin >= 0)
                s->n[bits >> 31][bin < QD_CHANNEL_BINS ? bin : QD_CHANNEL_BINS - 1]++;
        }
    }
}

static void add_value(struct collector *c, int v, int n)
{
    const struct qd_shape *shape = &c->s->graph->values[v].shape;
    int64_t count = qd_shape_count(shape);
    struct qd_error ignored = {""};

    for (int i = 0; i < n && c->statuses[v] == QD_OK; i++) {
        const float *x = read_value(c, v, i);

        c->statuses[v] = qd_histogram_add(&c->s->histograms[v], x, (size_t)count, &ignored);
        if (c->s->channels[v])
            add_channels(c->s->channels[v], x, shape->dims[1], count / shape->dims[1]);
    }
}

static void keep_outputs(struct collector *c, int image, int number)
{
    const struct qd_graph *graph = c->s->graph;
    float *out = c->s->outputs[number];

    for (int o = 0; o < graph->n_outputs; o++) {
        int v = qd_logits_of(graph, o);
        int64_t count = v == QD_NO_VALUE ? 0 : qd_shape_count(&graph->values[v].shape);

        if (count)
            memcpy(out, qd_frame_value_f32(c->frame, v, image), (size_t)count * sizeof(float));
        out += count;
    }
    memcpy(c->s->inputs[number], qd_frame_input(c->frame, image), c->input_size);
}

static enum qd_status find_not_finite(const struct collector *c, const struct qd_image_file *const *files, int n,
                                      struct qd_error *err)
{
    const struct qd_graph *graph = c->s->graph;

    for (int v = 0; v < graph->n_values; v++) {
        int64_t count;

        if (!qd_is_measured(graph, v) || !c->s->histograms[v].n_not_finite)
            continue;
        count = qd_shape_count(&graph->values[v].shape);
        for (int i = 0; i < n; i++) {
            const float *x = read_value(c, v, i);

            for (int64_t j = 0; j < count; j++)
                if (!isfinite(x[j]))
                    return qd_error_set(err, QD_INVALID, "tensor '%s' holds NaN or infinity for picture '%s'",
                                        graph->values[v].name, files[i]->path);
        }
    }
    return QD_OK;
}

/* One thread per tensor or layer, images in order: nothing is shared, and sums have one order. */
static enum qd_status add_batch(struct collector *c, const struct qd_image_file *const *files, int n,
                                struct qd_error *err)
{
    struct qd_statistics *s = c->s;
    int n_values = s->graph->n_values, first = s->n_images;

    for (int i = 0; i < n; i++) {
        memcpy(&s->hashes[first + i], files[i]->hash.bytes, sizeof(uint64_t));
        if (first + i < c->max_kept) {
            keep_outputs(c, i, first + i);
            s->n_kept++;
        }
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(c->options->n_threads)
    for (int t = 0; t < n_values + s->n_layers; t++) {
        if (t >= n_values)
            for (int i = 0; i < n; i++)
                add_layer(c, t - n_values, i, first + i);
        else if (qd_is_measured(s->graph, t))
            add_value(c, t, n);
    }
    s->n_images += n;
    for (int v = 0; v < n_values; v++)
        if (c->statuses[v] != QD_OK)
            return qd_error_set(err, c->statuses[v], "no memory for the histogram of '%s'", s->graph->values[v].name);
    return find_not_finite(c, files, n, err);
}

static enum qd_status run_images(struct collector *c, const struct qd_image_file *const *files, size_t n_files,
                                 struct qd_error *err)
{
    int batch = c->options->n_threads;
    struct qd_arena scratch = {0};
    enum qd_status *statuses = qd_arena_array(&scratch, (size_t)batch, sizeof(*statuses)), status = QD_OK;
    struct qd_error *errors = qd_arena_array(&scratch, (size_t)batch, sizeof(*errors)), first = {""};
    uint8_t **inputs = qd_arena_array(&scratch, (size_t)batch, sizeof(*inputs));
    const struct qd_image_file **good = qd_arena_array(&scratch, (size_t)batch, sizeof(*good));

    if (!statuses || !errors || !inputs || !good)
        status = no_memory(err);
    for (size_t at = 0; at < n_files && status == QD_OK; at += (size_t)batch) {
        int n = n_files - at < (size_t)batch ? (int)(n_files - at) : batch, n_good = 0;

        status = qd_progress_step(c->options->progress, "measuring activations", at, n_files, err);
        if (status != QD_OK)
            break;
        for (int i = 0; i < n; i++)
            inputs[i] = qd_frame_input(c->frame, i);
        qd_batch_load(files + at, n, c->options->preprocess, &c->options->limits, batch, inputs, statuses, errors);
        for (int i = 0; i < n; i++) {
            if (statuses[i] != QD_OK) {
                c->s->n_skipped++;
                if (!first.text[0])
                    first = errors[i];
                continue;
            }
            if (n_good != i)
                memcpy(inputs[n_good], inputs[i], c->input_size);
            good[n_good++] = files[at + (size_t)i];
        }
        qd_frame_run(c->frame, n_good, batch);
        status = add_batch(c, good, n_good, err);
    }
    qd_arena_done(&scratch);
    memcpy(c->s->first_skipped, first.text, sizeof(first.text));
    if (status == QD_OK && !c->s->n_images)
        status = qd_error_set(err, QD_INVALID, "none of %zu calibration pictures can be read; the first: %s", n_files,
                              first.text);
    return status;
}

static enum qd_status allocate_kept(struct collector *c, size_t n_files, struct qd_error *err)
{
    struct qd_statistics *s = c->s;
    size_t per_image;

    for (int o = 0; o < s->graph->n_outputs; o++) {
        int v = qd_logits_of(s->graph, o);

        c->n_outputs += v == QD_NO_VALUE ? 0 : qd_shape_count(&s->graph->values[v].shape);
    }
    per_image = c->input_size + (size_t)c->n_outputs * sizeof(float);
    c->max_kept = (int)(n_files < MAX_KEPT_BYTES / per_image ? n_files : MAX_KEPT_BYTES / per_image);
    s->n_sweep = c->max_kept < QD_SWEEP_IMAGES ? c->max_kept : QD_SWEEP_IMAGES;
    s->inputs = qd_arena_array(&s->arena, (size_t)c->max_kept + 1, sizeof(*s->inputs));
    s->outputs = qd_arena_array(&s->arena, (size_t)c->max_kept + 1, sizeof(*s->outputs));
    if (!s->inputs || !s->outputs)
        return no_memory(err);
    for (int i = 0; i < c->max_kept; i++) {
        s->inputs[i] = qd_arena_alloc(&s->arena, c->input_size);
        s->outputs[i] = qd_arena_array(&s->arena, (size_t)c->n_outputs, sizeof(float));
        if (!s->inputs[i] || !s->outputs[i])
            return no_memory(err);
    }
    return QD_OK;
}

static enum qd_status allocate(struct collector *c, struct qd_arena *scratch, size_t n_files, struct qd_error *err)
{
    struct qd_statistics *s = c->s;
    const struct qd_graph *graph = s->graph;
    size_t n_values = (size_t)graph->n_values + 1;
    enum qd_status status = QD_OK;

    s->histograms = qd_arena_array(&s->arena, n_values, sizeof(*s->histograms));
    s->channels = qd_arena_array(&s->arena, n_values, sizeof(*s->channels));
    s->layers = qd_arena_array(&s->arena, (size_t)graph->n_nodes + 1, sizeof(*s->layers));
    s->hashes = qd_arena_array(&s->arena, n_files + 1, sizeof(*s->hashes));
    c->statuses = qd_arena_array(scratch, n_values, sizeof(*c->statuses));
    c->rows = qd_arena_array(scratch, (size_t)graph->n_nodes + 1, sizeof(*c->rows));
    c->rooms = qd_arena_array(scratch, (size_t)c->options->n_threads, sizeof(*c->rooms));
    if (!s->histograms || !s->channels || !s->layers || !s->hashes || !c->statuses || !c->rows || !c->rooms)
        return no_memory(err);
    for (int t = 0; t < c->options->n_threads; t++)
        if (!(c->rooms[t] = qd_arena_array(scratch, (size_t)qd_largest_count(graph), sizeof(float))))
            return no_memory(err);
    for (int v = 0; v < graph->n_values && c->options->channels; v++) {
        if (!c->options->channels[v])
            continue;
        s->channels[v] = qd_arena_array(&s->arena, (size_t)graph->values[v].shape.dims[1], sizeof(**s->channels));
        if (!s->channels[v])
            return no_memory(err);
    }
    if (!c->options->layers)
        return QD_OK;
    status = allocate_kept(c, n_files, err);
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++)
        status = find_layer(s, n, err);
    for (int l = 0; l < s->n_layers && status == QD_OK; l++) {
        c->rows[l] = qd_arena_array(scratch, (size_t)c->samples_per_image * (size_t)s->layers[l].k, sizeof(float));
        if (!c->rows[l])
            return no_memory(err);
    }
    return status;
}

enum qd_status qd_statistics_make(const struct qd_graph *graph, const struct qd_image_file *const *files,
                                  size_t n_files, const struct qd_statistics_options *options,
                                  struct qd_statistics *ret, struct qd_error *err)
{
    struct qd_plan_options plan_options = {.precision = QD_PRECISION_F32,
                                           .max_batch = options->n_threads,
                                           .kernels = options->kernels,
                                           .keep_all = true,
                                           .blocks = true};
    struct qd_statistics s = {.graph = graph};
    struct collector c = {.s = &s, .options = options, .input_size = qd_preprocess_bytes(options->preprocess)};
    struct qd_arena scratch = {0};
    struct qd_plan *plan = NULL;
    enum qd_status status;

    c.samples_per_image = (int)((QD_MOMENT_SAMPLES + n_files - 1) / (n_files ? n_files : 1));
    status = allocate(&c, &scratch, n_files, err);
    if (status == QD_OK)
        status = qd_plan_new(graph, &plan_options, &plan, err);
    if (status == QD_OK)
        status = qd_frame_new(plan, options->n_threads, &c.frame, err);
    if (status == QD_OK)
        status = run_images(&c, files, n_files, err);
    qd_frame_free(c.frame);
    qd_plan_free(plan);
    qd_arena_done(&scratch);
    if (status != QD_OK) {
        qd_statistics_done(&s);
        return status;
    }
    *ret = s;
    return QD_OK;
}

void qd_statistics_done(struct qd_statistics *s)
{
    for (int v = 0; s->histograms && v < s->graph->n_values; v++)
        qd_histogram_done(&s->histograms[v]);
    qd_arena_done(&s->arena);
    memset(s, 0, sizeof(*s));
}
