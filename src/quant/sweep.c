#include "quant/sweep.h"

#include <math.h>
#include <string.h>

#include "engine/plan.h"
#include "quant/classes.h"

/* All of the sweep's images are in flight: their activations may take so much. */
#define MAX_FRAME_BYTES ((size_t)1 << 30)
#define N_NEIGHBOURS 4 /* eighths of an octave, to each side */

struct state {
    struct qd_sweep *sweep;
    struct qd_plan *plan;
    struct qd_frame *frame;
    int n_images;
    uint8_t *bytes;   /* an image's */
    float *outputs;   /* as a layer's targets: what the int8 step gave at their positions */
    double *variance; /* of a layer's targets, by channel */
};

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for a sweep over the layers");
}

static int64_t largest_value(const struct qd_graph *graph)
{
    int64_t largest = 1;

    for (int v = 0; v < graph->n_values; v++) {
        int64_t count =
            graph->values[v].has_shape && !graph->values[v].data ? qd_shape_count(&graph->values[v].shape) : 0;

        largest = count > largest ? count : largest;
    }
    return largest;
}

/* Where target number i of an image begins. */
static ptrdiff_t target_at(const struct qd_layer_statistics *l, int image, int i)
{
    return ((ptrdiff_t)image * QD_TARGET_SAMPLES + i) * l->layer.n;
}

/* The outputs of a step that has just run, at the targets' positions, as real values. */
static void sample_outputs(struct state *s, int step, const struct qd_layer_statistics *l)
{
    const struct qd_graph *graph = s->sweep->graph;
    const struct qd_value *value = &graph->values[graph->nodes[l->node].outputs[0]];

    for (int image = 0; image < s->n_images; image++) {
        const float *floats = qd_frame_step_output_f32(s->frame, step, image);

        if (!floats)
            qd_frame_copy_step_output(s->frame, step, image, s->bytes);
        for (int i = 0; i < qd_sample_count(l, QD_TARGET_SAMPLES); i++) {
            int64_t at = qd_sample_position(l, s->sweep->statistics->hashes[image], i);
            float *out = s->outputs + target_at(l, image, i);

            for (int o = 0; o < l->layer.n; o++) {
                float scale = value->q.scale * (value->channel_steps ? value->channel_steps[o] : 1);

                out[o] = floats ? qd_sample_output(l, floats, at, o)
                                : (float)(s->bytes[at * l->layer.n + o] - value->q.zero_point) * scale;
            }
        }
    }
}

/*
 * The activation's slope where its output is y; 0 where y does not tell (a bound, or HardSwish's and SiLU's dip below
 * 0): such samples say nothing of the bias.
 */
static double slope_at(const struct qd_activation *act, double y)
{
    switch (act->kind) {
    case QD_ACT_NONE:
        return 1;
    case QD_ACT_CLIP:
        return y > (double)act->min && y < (double)act->max ? 1 : 0;
    case QD_ACT_LEAKY:
        return y < 0 ? (double)act->alpha : 1;
    case QD_ACT_HARDSIGMOID:
        return y > 0 && y < 1 ? (double)act->alpha : 0;
    case QD_ACT_HARDSWISH: /* y = x (x + 3) / 6 from 0 to 3 */
        return y <= 0 ? 0 : y >= 3 ? 1 : sqrt(9 + 24 * y) / 6;
    case QD_ACT_SIGMOID:
        return y * (1 - y);
    case QD_ACT_TANH:
        return 1 - y * y;
    default:
        return y > 0 ? 1 : 0;
    }
}

/* Least squares over a half's samples: the shift before the activation that brings output o nearest to its targets. */
static double missing(const struct state *s, const struct qd_layer_statistics *l, const struct qd_activation *act,
                      int o, int half)
{
    double sum = 0, weight = 0;

    for (int image = half; image < s->n_images; image += 2) {
        for (int i = 0; i < qd_sample_count(l, QD_TARGET_SAMPLES); i++) {
            double y = (double)l->targets[target_at(l, image, i) + o];
            double slope = slope_at(act, y);

            sum += slope * (y - (double)s->outputs[target_at(l, image, i) + o]);
            weight += slope * slope;
        }
    }
    return weight > 0 ? sum / weight : 0;
}

static enum qd_status correct_bias(struct state *s, int step, const struct qd_layer_statistics *l, struct qd_error *err)
{
    struct qd_sweep *sweep = s->sweep;
    struct qd_layer_weights *weights = &sweep->scales->layers[l - sweep->statistics->layers].weights;
    const struct qd_activation *act = &sweep->graph->nodes[l->node].act;
    const float *old = weights->bias ? weights->bias : l->layer.bias;
    float *bias = qd_arena_array(&sweep->scales->arena, (size_t)l->layer.n, sizeof(float));

    if (!bias)
        return no_memory(err);
    qd_frame_run_step(s->frame, step, s->n_images, sweep->n_threads);
    sample_outputs(s, step, l);
    for (int o = 0; o < l->layer.n; o++) {
        double a = missing(s, l, act, o, 0), b = missing(s, l, act, o, 1), mean = (a + b) / 2, apart = fabs(a - b) / 2;

        sweep->n_tried++;
        bias[o] = old ? old[o] : 0;
        /* Half their distance is what is left on each: less than what there was on both. */
        if (!(apart < fabs(a) && apart < fabs(b)))
            continue;
        bias[o] += (float)mean;
        sweep->n_changed++;
    }
    weights->bias = bias;
    return qd_plan_prepare_again(s->plan, step, err);
}

/* Squared error of the layer's output against the targets, each channel's over its variance, by half. */
static void output_error(struct state *s, int step, const struct qd_layer_statistics *l, const double *variance,
                         double ret[2])
{
    sample_outputs(s, step, l);
    ret[0] = ret[1] = 0;
    for (int image = 0; image < s->n_images; image++)
        for (int i = 0; i < qd_sample_count(l, QD_TARGET_SAMPLES); i++)
            for (int o = 0; o < l->layer.n; o++) {
                double e =
                    (double)s->outputs[target_at(l, image, i) + o] - (double)l->targets[target_at(l, image, i) + o];

                ret[image & 1] += e * e / variance[o];
            }
}

/* The targets' variance by channel; channels that never change count for nothing. */
static void measure_variance(const struct state *s, const struct qd_layer_statistics *l, double *ret)
{
    int per_image = qd_sample_count(l, QD_TARGET_SAMPLES), n = per_image * s->n_images;

    for (int o = 0; o < l->layer.n; o++) {
        double sum = 0, squares = 0;

        for (int i = 0; i < n; i++) {
            double y = (double)l->targets[target_at(l, i / per_image, i % per_image) + o];

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

    measure_variance(s, l, s->variance);
    for (int j = 0; j <= 2 * N_NEIGHBOURS; j++) {
        /* 0, -1, 1, -2, 2 ... */
        int eighths = (j + 1) / 2 * (j % 2 ? -1 : 1) * (s->sweep->whole_octaves ? 8 : 1);
        struct qd_error why = {""};
        enum qd_status status;

        if (s->sweep->whole_octaves && j > 2)
            break;
        value->q.scale = start * exp2f((float)eighths / 8);
        status = qd_plan_prepare_again(s->plan, step, &why);
        if (status != QD_OK && status != QD_UNSUPPORTED)
            return qd_error_set(err, status, "%s", why.text);
        if (status != QD_OK)
            continue;
        qd_frame_run_step(s->frame, step, s->n_images, s->sweep->n_threads);
        output_error(s, step, l, s->variance, now);
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

static enum qd_status try_own_scale(struct state *s, int step, const struct qd_layer_statistics *l,
                                    struct qd_error *err)
{
    int v = s->sweep->graph->nodes[l->node].outputs[0];

    if (qd_frame_step_output_f32(s->frame, step, 0) || !qd_value_has_own_scale(s->sweep->graph, v))
        return QD_OK;
    return try_scales(s, step, l, err);
}

static enum qd_status allocate(struct state *s, struct qd_arena *arena, struct qd_error *err)
{
    const struct qd_sweep *sweep = s->sweep;
    size_t n = 1;

    for (int l = 0; l < sweep->statistics->n_layers; l++) {
        size_t outputs = (size_t)sweep->statistics->layers[l].layer.n;

        n = outputs > n ? outputs : n;
    }
    s->bytes = qd_arena_alloc(arena, (size_t)largest_value(sweep->graph));
    s->outputs = qd_arena_array(arena, (size_t)s->n_images * QD_TARGET_SAMPLES * n, sizeof(float));
    s->variance = qd_arena_array(arena, n, sizeof(double));
    return s->bytes && s->outputs && s->variance ? QD_OK : no_memory(err);
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
    while (status == QD_OK && s.n_images > 2 && qd_plan_frame_bytes(s.plan, sweep->n_threads) > MAX_FRAME_BYTES) {
        qd_plan_free(s.plan);
        s.plan = NULL;
        options.max_batch = s.n_images = s.n_images / 2 > 2 ? s.n_images / 2 : 2;
        status = qd_plan_new(sweep->graph, &options, &s.plan, err);
    }
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
