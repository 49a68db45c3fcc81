#include "quant/sweep.h"

#include <math.h>
#include <string.h>

#include "engine/plan.h"
#include "op/q8.h"

/* All of the sweep's images are in flight: their activations may take so much. */
#define MAX_FRAME_BYTES ((size_t)1 << 30)
#define N_NEIGHBOURS 4 /* eighths of an octave, to each side */

struct state {
    struct qd_sweep *sweep;
    struct qd_plan *plan;
    struct qd_frame *frame;
    int n_images;
    float **rooms;    /* by thread: an image of floats, and a row */
    uint8_t **bytes;  /* by thread: an image of bytes */
    double *sums;     /* by image: a layer's sums over its rows */
    double *means[2]; /* by half */
};

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for a sweep over the layers");
}

static int64_t largest_value(const struct qd_graph *graph)
{
    int64_t largest = 1;

    for (int v = 0; v < graph->n_values; v++) {
        int64_t count = graph->values[v].has_shape && !graph->values[v].data ? qd_shape_count(&graph->values[v].shape) : 0;

        largest = count > largest ? count : largest;
    }
    return largest;
}

/* Bytes as they lie, [pixel][c], to floats [c][pixel]. */
static void to_floats(const struct qd_value *value, struct qd_qparams q, const uint8_t *bytes, float *out)
{
    int64_t c = value->shape.n_dims == 4 ? value->shape.dims[1] : 1, pixels = qd_shape_count(&value->shape) / c;

    for (int64_t i = 0; i < c; i++) {
        float step = q.scale * (value->channel_steps ? value->channel_steps[i] : 1);

        for (int64_t p = 0; p < pixels; p++)
            *out++ = (float)(bytes[p * c + i] - q.zero_point) * step;
    }
}

/* Sums of the rows that a layer's step is about to read of one image, [group][k]. */
static void sum_rows(struct state *s, int step, const struct qd_layer_statistics *l, int image, int thread, double *sums)
{
    const struct qd_graph *graph = s->sweep->graph;
    int v = graph->nodes[l->node].inputs[0];
    float *floats = s->rooms[thread], *row = floats + qd_shape_count(&graph->values[v].shape);

    memset(sums, 0, (size_t)l->layer.group * (size_t)l->k * sizeof(*sums));
    if (!qd_frame_copy_step_input(s->frame, step, 0, image, s->bytes[thread]))
        return;
    to_floats(&graph->values[v], qd_q8_of(graph, v), s->bytes[thread], floats);
    for (int i = 0; i < qd_sample_count(l, QD_SWEEP_SAMPLES); i++) {
        int64_t at = qd_sample_position(l, s->sweep->statistics->hashes[image], i);

        for (int g = 0; g < l->layer.group; g++) {
            qd_sample_row(l, floats, at, g, row);
            for (int j = 0; j < l->k; j++)
                sums[(ptrdiff_t)g * l->k + j] += (double)row[j];
        }
    }
}

/* The rows' means by half into s->means. */
static void measure_means(struct state *s, int step, const struct qd_layer_statistics *l)
{
    size_t count = (size_t)l->layer.group * (size_t)l->k;

#pragma omp parallel for schedule(static, 1) num_threads(s->sweep->n_threads)
    for (int thread = 0; thread < s->sweep->n_threads; thread++)
        for (int i = thread; i < s->n_images; i += s->sweep->n_threads)
            sum_rows(s, step, l, i, thread, s->sums + (size_t)i * count);
    for (int half = 0; half < 2; half++) {
        memset(s->means[half], 0, count * sizeof(double));
        for (int i = half; i < s->n_images; i += 2)
            for (size_t j = 0; j < count; j++)
                s->means[half][j] += s->sums[(size_t)i * count + j];
        for (size_t j = 0; j < count && l->n_half[half]; j++)
            s->means[half][j] /= l->n_half[half];
    }
}

/* What output o lacks in the mean of a half's rows. */
static double missing(const struct state *s, const struct qd_layer_statistics *l, const struct qd_layer_weights *weights,
                      const float *steps, int o, int half)
{
    int group = o / (l->layer.n / l->layer.group), c_group = l->layer.c / l->layer.group, taps = l->k / c_group;
    const float *w = l->layer.weights + (ptrdiff_t)o * l->k;
    const int8_t *q = weights->q + (ptrdiff_t)o * l->k;
    const double *sums = l->sums + ((ptrdiff_t)half * l->layer.group + group) * l->k;
    const double *means = s->means[half] + (ptrdiff_t)group * l->k;
    double total = 0;

    for (int i = 0; i < l->k; i++) {
        double step = steps ? (double)steps[group * c_group + i / taps] : 1;
        double real = (double)q[i] * (double)weights->scale[o] / step;

        total += (double)w[i] * sums[i] / l->n_half[half] - real * means[i];
    }
    return total;
}

static enum qd_status correct_bias(struct state *s, int step, const struct qd_layer_statistics *l, struct qd_error *err)
{
    struct qd_sweep *sweep = s->sweep;
    struct qd_layer_weights *weights = &sweep->scales->layers[l - sweep->statistics->layers].weights;
    const float *steps = sweep->graph->values[sweep->graph->nodes[l->node].inputs[0]].channel_steps;
    const float *old = weights->bias ? weights->bias : l->layer.bias;
    float *bias = qd_arena_array(&sweep->scales->arena, (size_t)l->layer.n, sizeof(float));

    if (!bias)
        return no_memory(err);
    if (!l->n_half[0] || !l->n_half[1])
        return QD_OK;
    measure_means(s, step, l);
    for (int o = 0; o < l->layer.n; o++) {
        double now = old ? (double)old[o] : 0, base = l->layer.bias ? (double)l->layer.bias[o] : 0;
        double a = missing(s, l, weights, steps, o, 0) + base - now, b = missing(s, l, weights, steps, o, 1) + base - now;
        double mean = (a + b) / 2, apart = fabs(a - b) / 2;

        sweep->n_tried++;
        bias[o] = (float)now;
        /* Half their distance is what is left on each: less than what there was on both. */
        if (!(apart < fabs(a) && apart < fabs(b)))
            continue;
        bias[o] = (float)(now + mean);
        sweep->n_changed++;
    }
    weights->bias = bias;
    return qd_plan_prepare_again(s->plan, step, err);
}

/* Squared error of the layer's output against the targets, each channel's over its variance, by half. */
static void output_error(struct state *s, int step, const struct qd_layer_statistics *l, const double *variance,
                         double ret[2])
{
    const struct qd_graph *graph = s->sweep->graph;
    int v = graph->nodes[l->node].outputs[0], n = qd_sample_count(l, QD_TARGET_SAMPLES);
    struct qd_qparams q = graph->values[v].q;
    const float *steps = graph->values[v].channel_steps;

    ret[0] = ret[1] = 0;
    for (int image = 0; image < s->n_images; image++) {
        const float *target = l->targets + (ptrdiff_t)image * QD_TARGET_SAMPLES * l->layer.n;

        qd_frame_copy_step_output(s->frame, step, image, s->bytes[0]);
        for (int i = 0; i < n; i++) {
            const uint8_t *bytes = s->bytes[0] + qd_sample_position(l, s->sweep->statistics->hashes[image], i) * l->layer.n;

            for (int o = 0; o < l->layer.n; o++, target++) {
                double real = (bytes[o] - q.zero_point) * (double)q.scale * (steps ? (double)steps[o] : 1);

                ret[image & 1] += (real - (double)*target) * (real - (double)*target) / variance[o];
            }
        }
    }
}

/* The targets' variance by channel; channels that never change count for nothing. */
static void measure_variance(const struct state *s, const struct qd_layer_statistics *l, double *ret)
{
    int per_image = qd_sample_count(l, QD_TARGET_SAMPLES), n = per_image * s->n_images;

    for (int o = 0; o < l->layer.n; o++) {
        double sum = 0, squares = 0;

        for (int i = 0; i < n; i++) {
            double y = (double)l->targets[((ptrdiff_t)(i / per_image) * QD_TARGET_SAMPLES + i % per_image) * l->layer.n + o];

            sum += y;
            squares += y * y;
        }
        ret[o] = squares / n - sum / n * (sum / n);
        ret[o] = ret[o] > 1e-12 * squares / n && n ? ret[o] : INFINITY;
    }
}

static enum qd_status try_scales(struct state *s, int step, const struct qd_layer_statistics *l, struct qd_error *err)
{
    struct qd_value *value = &s->sweep->graph->values[s->sweep->graph->nodes[l->node].outputs[0]];
    float start = value->q.scale, best_scale = start;
    double now[2], best[2] = {INFINITY, INFINITY};

    measure_variance(s, l, s->means[0]);
    for (int j = 0; j <= 2 * N_NEIGHBOURS; j++) {
        /* 0, -1, 1, -2, 2 ... */
        int eighths = (j + 1) / 2 * (j % 2 ? -1 : 1);
        struct qd_error why = {""};
        enum qd_status status;

        value->q.scale = start * exp2f((float)eighths / 8);
        status = qd_plan_prepare_again(s->plan, step, &why);
        if (status != QD_OK && status != QD_UNSUPPORTED)
            return qd_error_set(err, status, "%s", why.text);
        if (status != QD_OK)
            continue;
        qd_frame_run_step(s->frame, step, s->n_images, s->sweep->n_threads);
        output_error(s, step, l, s->means[0], now);
        if (j == 0) {
            best[0] = now[0];
            best[1] = now[1];
        } else if (now[0] < best[0] && now[1] < best[1]) {
            best[0] = now[0];
            best[1] = now[1];
            best_scale = value->q.scale;
        }
    }
    s->sweep->n_tried++;
    s->sweep->n_changed += best_scale != start;
    value->q.scale = best_scale;
    return qd_plan_prepare_again(s->plan, step, err);
}

/* A scale that only this layer's output has: no operator copies the tensor's bytes into another. */
static bool has_own_scale(const struct qd_graph *graph, int v)
{
    for (int n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs; i++)
            if (graph->nodes[n].inputs[i] == v && (graph->nodes[n].op->flags & QD_OP_SAME_SCALE))
                return false;
    return true;
}

/* What is done at a layer that is about to run. */
typedef enum qd_status mend_layer(struct state *s, int step, const struct qd_layer_statistics *l, struct qd_error *err);

static enum qd_status run(struct state *s, mend_layer *mend, struct qd_error *err)
{
    int n_steps = qd_plan_n_steps(s->plan);
    enum qd_status status = QD_OK;

    for (int i = 0; i < s->n_images; i++) {
        int h, w, c;

        qd_plan_input_size(s->plan, &h, &w, &c);
        memcpy(qd_frame_input(s->frame, i), s->sweep->statistics->inputs[i], (size_t)h * (size_t)w * (size_t)c);
    }
    for (int step = 0; step < n_steps && status == QD_OK; step++) {
        struct qd_step_info info;
        const struct qd_layer_statistics *l = NULL;

        status = qd_progress_step(s->sweep->progress, "mending layers", (size_t)step, (size_t)n_steps, err);
        qd_plan_step(s->plan, step, &info);
        if (info.kind == QD_STEP_Q8 && info.node)
            l = qd_layer_of(s->sweep->statistics, (int)(info.node - s->sweep->graph->nodes));
        if (status == QD_OK && info.kind == QD_STEP_Q8)
            status = qd_plan_prepare_again(s->plan, step, err); /* its input's scale may have changed */
        if (status == QD_OK && l)
            status = mend(s, step, l, err);
        if (status == QD_OK)
            qd_frame_run_step(s->frame, step, s->n_images, s->sweep->n_threads);
    }
    return status;
}

static enum qd_status try_own_scale(struct state *s, int step, const struct qd_layer_statistics *l, struct qd_error *err)
{
    int v = s->sweep->graph->nodes[l->node].outputs[0];

    if (qd_frame_step_output_f32(s->frame, step, 0) || !has_own_scale(s->sweep->graph, v))
        return QD_OK;
    return try_scales(s, step, l, err);
}

static enum qd_status allocate(struct state *s, struct qd_arena *arena, struct qd_error *err)
{
    const struct qd_sweep *sweep = s->sweep;
    size_t n_threads = (size_t)sweep->n_threads, largest = (size_t)largest_value(sweep->graph), rows = 1, k = 1;

    for (int l = 0; l < sweep->statistics->n_layers; l++) {
        const struct qd_layer_statistics *layer = &sweep->statistics->layers[l];
        size_t count = (size_t)layer->layer.group * (size_t)layer->k;

        rows = count > rows ? count : rows;
        rows = (size_t)layer->layer.n > rows ? (size_t)layer->layer.n : rows;
        k = (size_t)layer->k > k ? (size_t)layer->k : k;
    }
    s->rooms = qd_arena_array(arena, n_threads, sizeof(*s->rooms));
    s->bytes = qd_arena_array(arena, n_threads, sizeof(*s->bytes));
    s->sums = qd_arena_array(arena, (size_t)s->n_images * rows, sizeof(double));
    s->means[0] = qd_arena_array(arena, rows, sizeof(double));
    s->means[1] = qd_arena_array(arena, rows, sizeof(double));
    if (!s->rooms || !s->bytes || !s->sums || !s->means[0] || !s->means[1])
        return no_memory(err);
    for (size_t t = 0; t < n_threads; t++) {
        s->rooms[t] = qd_arena_array(arena, largest + k, sizeof(float));
        s->bytes[t] = qd_arena_alloc(arena, largest);
        if (!s->rooms[t] || !s->bytes[t])
            return no_memory(err);
    }
    return QD_OK;
}

static enum qd_status sweep_with(struct qd_sweep *sweep, mend_layer *mend, struct qd_error *err)
{
    struct state s = {.sweep = sweep, .n_images = sweep->statistics->n_sweep};
    struct qd_plan_options options = {.precision = QD_PRECISION_Q8, .kernels = sweep->kernels, .in_order = true};
    struct qd_arena arena = {0};
    enum qd_status status = QD_OK;

    s.n_images = s.n_images < sweep->statistics->n_images ? s.n_images : sweep->statistics->n_images;
    sweep->n_changed = sweep->n_tried = 0;
    options.max_batch = s.n_images;
    status = qd_plan_new(sweep->graph, &options, &s.plan, err);
    if (status == QD_OK && qd_plan_frame_bytes(s.plan, sweep->n_threads) > MAX_FRAME_BYTES)
        status = qd_error_set(err, QD_TOO_LARGE, "%d images in flight would take %zu MiB", s.n_images,
                              qd_plan_frame_bytes(s.plan, sweep->n_threads) >> 20);
    if (status == QD_OK)
        status = qd_frame_new(s.plan, sweep->n_threads, &s.frame, err);
    if (status == QD_OK)
        status = allocate(&s, &arena, err);
    if (status == QD_OK)
        status = run(&s, mend, err);
    qd_frame_free(s.frame);
    qd_plan_free(s.plan);
    qd_arena_done(&arena);
    return status;
}

enum qd_status qd_sweep_biases(struct qd_sweep *sweep, struct qd_error *err)
{
    return sweep_with(sweep, correct_bias, err);
}

enum qd_status qd_sweep_scales(struct qd_sweep *sweep, struct qd_error *err)
{
    enum qd_status status = sweep_with(sweep, try_own_scale, err);

    for (size_t i = 0; i < sweep->scales->n_values && status == QD_OK; i++) {
        int v = qd_graph_find_value(sweep->graph, sweep->scales->values[i].name);

        sweep->scales->values[i].q = sweep->graph->values[v].q;
    }
    return status;
}
