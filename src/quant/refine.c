#include "quant/refine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "op/q8.h"
#include "quant/channel_steps.h"
#include "quant/classes.h"
#include "quant/round_weights.h"
#include "quant/sweep.h"

#define GLOBAL_LAYERS 16      /* whose scales the last stage tries, the most sensitive first */
#define STEP_SPLITS 3         /* how often tensors whose steps do not gain together are tried in halves */
#define SENSITIVITY_IMAGES 16 /* that it measures sensitivity on */
#define CLASS_STEPS 4         /* quarters of an octave by which the scale of the classes' tensor is tried wider */
#define CLASS_LOSS_DB 0.2     /* that it may cost */

struct stage {
    const char *name;
    enum qd_status (*run)(struct qd_refinement *r, char *text, size_t size, struct qd_error *err);
    bool decides; /* keeps or undoes by itself, change by change */
};

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory to calibrate");
}

static enum qd_status measure(const struct qd_refinement *r, int n_images, struct qd_network_error *ret,
                              struct qd_error *err)
{
    enum qd_status status = qd_progress_check(r->progress, err);

    if (status != QD_OK)
        return status;
    return qd_network_error_measure(r->graph, r->statistics, n_images, r->kernels, r->n_threads, ret, err);
}

static const float *input_steps(const struct qd_refinement *r, const struct qd_layer_statistics *l)
{
    return r->graph->values[r->graph->nodes[l->node].inputs[0]].channel_steps;
}

/* The weights of layer l anew, in new memory: those before may still be returned to. */
static enum qd_status new_weights(struct qd_refinement *r, int l, int8_t **ret_q, float **ret_scale,
                                  struct qd_error *err)
{
    struct qd_layer_scale *layer = &r->scales->layers[l];

    *ret_q = qd_arena_alloc(&r->scales->arena, (size_t)layer->n * (size_t)layer->k);
    *ret_scale = qd_arena_array(&r->scales->arena, (size_t)layer->n, sizeof(float));
    layer->weights.q = *ret_q;
    layer->weights.scale = *ret_scale;
    return *ret_q && *ret_scale ? QD_OK : no_memory(err);
}

/* What an accumulator's unit is measured in after its multiplier, by channel; NULL where the output stays float. */
static enum qd_status output_units(const struct qd_refinement *r, const struct qd_layer_statistics *l,
                                   struct qd_arena *arena, const double **ret, struct qd_error *err)
{
    const struct qd_node *node = &r->graph->nodes[l->node];
    const struct qd_value *value = &r->graph->values[node->outputs[0]];
    double gain = node->act.kind == QD_ACT_HARDSIGMOID ? (double)node->act.alpha : 1;
    double *units;

    *ret = NULL;
    if (r->form->multiplier_bits >= 24 || qd_graph_is_output(r->graph, node->outputs[0]))
        return QD_OK;
    units = qd_arena_array(arena, (size_t)l->layer.n, sizeof(*units));
    if (!units)
        return no_memory(err);
    for (int o = 0; o < l->layer.n; o++)
        units[o] = (double)value->q.scale * (value->channel_steps ? (double)value->channel_steps[o] : 1) / gain;
    *ret = units;
    return QD_OK;
}

/* The weights of some layers (all where which is NULL) to the least error of their outputs, or to the nearest. */
static enum qd_status round_layers(struct qd_refinement *r, const bool *which, bool nearest, struct qd_error *err)
{
    int n = r->statistics->n_layers;
    struct qd_arena scratch = {0};
    struct qd_rounding *roundings = qd_arena_array(&scratch, (size_t)n + 1, sizeof(*roundings));
    enum qd_status *statuses = qd_arena_array(&scratch, (size_t)n + 1, sizeof(*statuses));
    enum qd_status status = roundings && statuses ? QD_OK : no_memory(err);

    for (int i = 0; i < n && status == QD_OK; i++) {
        const struct qd_layer_statistics *l = &r->statistics->layers[i];
        int input = r->graph->nodes[l->node].inputs[0];

        if (which && !which[i])
            continue;
        roundings[i].layer = l;
        roundings[i].input_steps = input_steps(r, l);
        roundings[i].input_scale = (double)qd_q8_of(r->graph, input).scale;
        roundings[i].exact_input = input == r->graph->pixels;
        roundings[i].bits = r->scales->layers[i].weights.bits;
        roundings[i].power_of_two = r->form->power_of_two;
        roundings[i].nearest = nearest;
        roundings[i].multiplier_bits = r->form->multiplier_bits;
        status = output_units(r, l, &scratch, &roundings[i].output_units, err);
        if (status == QD_OK)
            status = new_weights(r, i, &roundings[i].q, &roundings[i].scale, err);
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->n_threads)
    for (int i = 0; i < (status == QD_OK ? n : 0); i++) {
        struct qd_error ignored = {""};

        if (roundings[i].layer && qd_progress_check(r->progress, &ignored) == QD_OK)
            statuses[i] = qd_round_weights(&roundings[i], &ignored);
    }
    if (status == QD_OK)
        status = qd_progress_check(r->progress, err);
    for (int i = 0; i < n && status == QD_OK; i++) {
        if (roundings[i].layer)
            r->scales->layers[i].weights_db = roundings[i].sqnr_db;
        status = statuses[i] == QD_OK ? QD_OK : no_memory(err);
    }
    qd_arena_done(&scratch);
    return status;
}

static enum qd_status round_weights(struct qd_refinement *r, char *text, size_t size, struct qd_error *err)
{
    int n_full = 0;

    for (int i = 0; i < r->statistics->n_layers; i++)
        n_full += r->statistics->layers[i].moments != NULL;
    snprintf(text, size, "%d layers, %d of them by all second moments", r->statistics->n_layers, n_full);
    return round_layers(r, NULL, false, err);
}

/* Marks the layers that read the value, and its maker where that has to fit its multipliers to it. */
static void mark_readers(const struct qd_refinement *r, int v, bool *which)
{
    for (int i = 0; i < r->statistics->n_layers; i++)
        which[i] = which[i] || r->graph->nodes[r->statistics->layers[i].node].inputs[0] == v ||
                   (r->form->multiplier_bits < 24 && r->graph->nodes[r->statistics->layers[i].node].outputs[0] == v);
}

/* What a stage may have to go back to. */
struct snapshot {
    struct qd_arena memory;
    struct qd_value_scale *values;
    struct qd_layer_scale *layers;
};

static enum qd_status take_snapshot(const struct qd_refinement *r, struct snapshot *ret, struct qd_error *err)
{
    const struct qd_scales *scales = r->scales;

    *ret = (struct snapshot){0};
    ret->values = qd_arena_array(&ret->memory, scales->n_values + 1, sizeof(*ret->values));
    ret->layers = qd_arena_array(&ret->memory, scales->n_layers + 1, sizeof(*ret->layers));
    if (!ret->values || !ret->layers) {
        qd_arena_done(&ret->memory);
        return no_memory(err);
    }
    memcpy(ret->values, scales->values, scales->n_values * sizeof(*ret->values));
    memcpy(ret->layers, scales->layers, scales->n_layers * sizeof(*ret->layers));
    return QD_OK;
}

static enum qd_status go_back(struct qd_refinement *r, const struct snapshot *to, struct qd_error *err)
{
    memcpy(r->scales->values, to->values, r->scales->n_values * sizeof(*to->values));
    memcpy(r->scales->layers, to->layers, r->scales->n_layers * sizeof(*to->layers));
    return qd_scales_apply(r->scales, r->graph, err);
}

/* Steps per channel that were found for a class of tensors. */
struct found_steps {
    const struct qd_step_class *class;
    struct qd_class_steps of;
};

/* The entry of a value of the graph among the scales. */
static struct qd_value_scale *entry_of(const struct qd_refinement *r, int v)
{
    for (size_t i = 0; i < r->scales->n_values; i++)
        if (strcmp(r->scales->values[i].name, r->graph->values[v].name) == 0)
            return &r->scales->values[i];
    return NULL;
}

static enum qd_status use_steps(struct qd_refinement *r, const struct found_steps *found, int n, struct qd_error *err)
{
    bool *which = qd_alloc_array((size_t)r->statistics->n_layers + 1, sizeof(bool));
    enum qd_status status = which ? QD_OK : no_memory(err);

    for (int i = 0; i < n && status == QD_OK; i++)
        for (int j = 0; j < found[i].class->n_values; j++) {
            int v = found[i].class->values[j];
            struct qd_value_scale *s = entry_of(r, v);

            s->q = found[i].of.q[j];
            s->channel_steps = found[i].of.steps[j];
            s->n_channels = s->channel_steps ? (int)r->graph->values[v].shape.dims[1] : 0;
            mark_readers(r, v, which);
        }
    if (status == QD_OK)
        status = qd_scales_apply(r->scales, r->graph, err);
    if (status == QD_OK)
        status = round_layers(r, which, false, err);
    qd_free(which);
    return status;
}

/*
 * All of them, where that gains; else the network's first half of them and then the second, each in the same way, down
 * to an eighth: one that loses shall not cost what the others gain.
 */
static enum qd_status try_steps(struct qd_refinement *r, const struct found_steps *found, int n, int splits, int *kept,
                                struct qd_error *err)
{
    struct snapshot before;
    struct qd_network_error error;
    bool gains = false;
    enum qd_status status = n ? take_snapshot(r, &before, err) : QD_OK;

    if (status != QD_OK || !n)
        return status;
    status = use_steps(r, found, n, err);
    if (status == QD_OK)
        status = measure(r, r->statistics->n_kept, &error, err);
    if (status == QD_OK)
        gains = qd_network_error_is_better(&error, &r->error);
    if (gains) {
        r->error = error;
        *kept += n;
    } else if (status == QD_OK) {
        status = go_back(r, &before, err);
    }
    qd_arena_done(&before.memory);
    if (status != QD_OK || gains || n == 1 || !splits)
        return status;
    status = try_steps(r, found, n / 2, splits - 1, kept, err);
    return status == QD_OK ? try_steps(r, found + n / 2, n - n / 2, splits - 1, kept, err) : status;
}

static enum qd_status choose_channel_steps(struct qd_refinement *r, bool dense, char *text, size_t size,
                                           struct qd_error *err)
{
    int n_classes = 0, n_found = 0, n_kept = 0;
    struct qd_arena scratch = {0};
    struct qd_step_class *classes;
    struct found_steps *list = NULL;
    enum qd_status status =
        r->form->layerwise ? QD_OK : qd_step_classes_find(r->graph, r->form, &scratch, &classes, &n_classes, err);

    if (status == QD_OK && !(list = qd_arena_array(&scratch, (size_t)n_classes + 1, sizeof(*list))))
        status = no_memory(err);
    for (int i = 0; i < n_classes && status == QD_OK; i++) {
        list[n_found].class = &classes[i];
        status = qd_channel_steps_choose(r->statistics, &classes[i], dense, r->form, &r->scales->arena,
                                         &list[n_found].of, err);
        n_found += status == QD_OK && list[n_found].of.found;
    }
    if (status == QD_OK)
        status = try_steps(r, list, n_found, STEP_SPLITS, &n_kept, err);
    snprintf(text, size, "%d of %d classes of tensors; %d of them alone would gain", n_kept, n_classes, n_found);
    qd_arena_done(&scratch);
    return status;
}

static enum qd_status free_steps(struct qd_refinement *r, char *text, size_t size, struct qd_error *err)
{
    return choose_channel_steps(r, false, text, size, err);
}

static enum qd_status equalise(struct qd_refinement *r, char *text, size_t size, struct qd_error *err)
{
    return choose_channel_steps(r, true, text, size, err);
}

/* Scales that fit their multipliers, or are powers of two, stay so only by doubling and halving. */
static bool moves_whole_octaves(const struct qd_refinement *r)
{
    return r->form->power_of_two || r->form->multiplier_bits < QD_NARROW_MULTIPLIER;
}

static struct qd_sweep sweep_of(struct qd_refinement *r)
{
    return (struct qd_sweep){.graph = r->graph,
                             .statistics = r->statistics,
                             .scales = r->scales,
                             .kernels = r->kernels,
                             .n_threads = r->n_threads,
                             .whole_octaves = moves_whole_octaves(r),
                             .progress = r->progress};
}

static enum qd_status search_scales(struct qd_refinement *r, char *text, size_t size, struct qd_error *err)
{
    struct qd_sweep sweep = sweep_of(r);
    enum qd_status status = qd_sweep_scales(&sweep, err);

    snprintf(text, size, "%d of %d scales moved", sweep.n_changed, sweep.n_tried);
    return status;
}

static enum qd_status correct_biases(struct qd_refinement *r, char *text, size_t size, struct qd_error *err)
{
    struct qd_sweep sweep = sweep_of(r);
    enum qd_status status = qd_sweep_biases(&sweep, err);

    snprintf(text, size, "%d of %d channels corrected", sweep.n_changed, sweep.n_tried);
    return status;
}

/* KL of the network's output with one layer alone in int8. */
static enum qd_status measure_sensitivity(struct qd_refinement *r, struct qd_error *err)
{
    struct qd_arena scratch = {0};
    enum qd_precision *before = qd_arena_array(&scratch, (size_t)r->graph->n_nodes + 1, sizeof(*before));
    enum qd_status status = before ? QD_OK : no_memory(err);

    for (int n = 0; n < r->graph->n_nodes && before; n++) {
        before[n] = r->graph->nodes[n].precision;
        r->graph->nodes[n].precision = QD_PRECISION_F32;
    }
    for (int l = 0; l < r->statistics->n_layers && status == QD_OK; l++) {
        struct qd_node *node = &r->graph->nodes[r->statistics->layers[l].node];
        struct qd_network_error error;

        if (before[r->statistics->layers[l].node] == QD_PRECISION_F32)
            continue;
        status =
            qd_progress_step(r->progress, "measuring sensitivity", (size_t)l, (size_t)r->statistics->n_layers, err);
        node->precision = QD_PRECISION_Q8;
        if (status == QD_OK)
            status = measure(r, SENSITIVITY_IMAGES, &error, err);
        node->precision = QD_PRECISION_F32;
        if (status == QD_OK)
            r->scales->layers[l].sensitivity = (error.kl[0] + error.kl[1]) / 2;
    }
    for (int n = 0; n < r->graph->n_nodes && before; n++)
        r->graph->nodes[n].precision = before[n];
    qd_arena_done(&scratch);
    return status;
}

/* The scale entry of a layer's output where it is that layer's alone, or NULL. */
static struct qd_value_scale *scale_of(const struct qd_refinement *r, int l)
{
    int v = r->graph->nodes[r->statistics->layers[l].node].outputs[0];

    if (!qd_value_has_own_scale(r->graph, v))
        return NULL;
    return entry_of(r, v);
}

/* One layer's scale: neighbours that lower the whole network's error on both halves. */
static enum qd_status descend(struct qd_refinement *r, struct qd_value_scale *s, int *changed, struct qd_error *err)
{
    static const float eighths[] = {-1, 1, -2, 2};
    bool whole = moves_whole_octaves(r);
    float start = s->q.scale, best = start;

    for (size_t i = 0; i < QD_ARRAY_SIZE(eighths); i++) {
        struct qd_network_error error;
        enum qd_status status;

        s->q.scale = start * exp2f(eighths[i] / (whole ? 1 : 8));
        status = qd_scales_apply(r->scales, r->graph, err);
        if (status == QD_OK)
            status = measure(r, r->statistics->n_kept, &error, err);
        if (status != QD_OK)
            return status;
        if (!qd_network_error_is_better(&error, &r->error))
            continue;
        r->error = error;
        best = s->q.scale;
    }
    *changed += best != start;
    s->q.scale = best;
    return qd_scales_apply(r->scales, r->graph, err);
}

static enum qd_status descend_globally(struct qd_refinement *r, char *text, size_t size, struct qd_error *err)
{
    int n = r->statistics->n_layers, n_tried = 0, n_changed = 0;
    bool *done = qd_alloc_array((size_t)n + 1, sizeof(bool));
    enum qd_status status = done ? measure_sensitivity(r, err) : no_memory(err);

    for (; status == QD_OK && n_tried < GLOBAL_LAYERS; n_tried++) {
        int worst = -1;

        for (int l = 0; l < n; l++)
            if (!done[l] && scale_of(r, l) && isfinite(r->scales->layers[l].sensitivity) &&
                (worst < 0 || r->scales->layers[l].sensitivity > r->scales->layers[worst].sensitivity))
                worst = l;
        if (worst < 0)
            break;
        done[worst] = true;
        status = qd_progress_step(r->progress, "trying scales", (size_t)n_tried, GLOBAL_LAYERS, err);
        if (status == QD_OK)
            status = descend(r, scale_of(r, worst), &n_changed, err);
    }
    snprintf(text, size, "%d of the %d most sensitive layers' scales moved", n_changed, n_tried);
    qd_free(done);
    return status;
}

/*
 * The layer whose bytes become the classes by operators without weights: a mean over the picture, copies. -1: none, or
 * it gives the classes itself, as floats.
 */
static int layer_of_classes(const struct qd_refinement *r)
{
    const struct qd_graph *graph = r->graph;
    int classes = qd_logits_of(graph, 0), v = classes;

    while (r->error.has_classes && v != QD_NO_VALUE && graph->values[v].producer >= 0) {
        const struct qd_node *node = &graph->nodes[graph->values[v].producer];
        const struct qd_layer_statistics *l = qd_layer_of(r->statistics, graph->values[v].producer);

        if (l)
            return v == classes ? -1 : (int)(l - r->statistics->layers);
        for (int i = 1; i < node->n_inputs; i++)
            if (node->inputs[i] != QD_NO_VALUE && !graph->values[node->inputs[i]].data)
                return -1;
        v = node->n_inputs ? node->inputs[0] : QD_NO_VALUE;
        if (v == QD_NO_VALUE || qd_graph_n_uses(graph, v) != 1)
            return -1;
    }
    return -1;
}

/* Whether a's classes are likelier than b's on both halves, at hardly more noise. */
static bool is_likelier(const struct qd_network_error *a, const struct qd_network_error *b)
{
    for (int half = 0; half < 2; half++)
        if (!(a->kl[half] < b->kl[half] && a->db[half] > b->db[half] - CLASS_LOSS_DB))
            return false;
    return a->n_refused <= b->n_refused;
}

/*
 * Where the classes are means over bytes, the least squared error clips what few pixels say of the likeliest class: one
 * value in many, but the one that the answer rests on. KL knows which class that is.
 */
static enum qd_status widen_classes(struct qd_refinement *r, char *text, size_t size, struct qd_error *err)
{
    int l = layer_of_classes(r), step = moves_whole_octaves(r) ? CLASS_STEPS : 1;
    struct qd_value_scale *s = l >= 0 ? scale_of(r, l) : NULL;
    struct qd_network_error before = r->error;
    float start = s ? s->q.scale : 1, best = start;

    for (int i = step; s && i <= CLASS_STEPS; i += step) {
        struct qd_network_error error;
        enum qd_status status;

        s->q.scale = start * exp2f((float)i / CLASS_STEPS);
        status = qd_scales_apply(r->scales, r->graph, err);
        if (status == QD_OK)
            status = measure(r, r->statistics->n_kept, &error, err);
        if (status != QD_OK)
            return status;
        if (!is_likelier(&error, &before) || !(error.kl[0] + error.kl[1] < r->error.kl[0] + r->error.kl[1]))
            continue;
        r->error = error;
        best = s->q.scale;
    }
    if (!s) {
        snprintf(text, size, "no bytes that classes are means of");
        return QD_OK;
    }
    snprintf(text, size, "the scale of '%.50s' times %.2f", s->name, (double)(best / start));
    s->q.scale = best;
    return QD_OK;
}

static const struct stage stages[] = {
    {"weights", round_weights, false},          {"channel steps", free_steps, true},
    {"equalisation", equalise, true},           {"greedy scales", search_scales, false},
    {"bias correction", correct_biases, false}, {"global", descend_globally, true},
    {"class scale", widen_classes, true},
};

const char *qd_stage_name(int i)
{
    return i >= 0 && (size_t)i < QD_ARRAY_SIZE(stages) ? stages[i].name : NULL;
}

/* The stage of that name, or -1. */
static int find_stage(const char *name, size_t length)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(stages); i++)
        if (strlen(stages[i].name) == length && memcmp(stages[i].name, name, length) == 0)
            return (int)i;
    return -1;
}

enum qd_status qd_stages_named(const char *list, unsigned *ret, struct qd_error *err)
{
    char known[160] = "";
    unsigned bits = 0;

    for (size_t i = 0; i < QD_ARRAY_SIZE(stages); i++)
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "", stages[i].name);
    for (const char *name = list, *end; name; name = *end ? end + 1 : NULL) {
        size_t length = strcspn(name, ",");
        int stage = find_stage(name, length);

        end = name + length;
        if (stage < 0)
            return qd_error_set(err, QD_INVALID, "expected some of %s, found '%.*s'", known,
                                length < 40 ? (int)length : 40, name);
        bits |= 1u << stage;
    }
    *ret = bits;
    return QD_OK;
}

/* One stage, undone where it did not gain. */
static enum qd_status run_stage(struct qd_refinement *r, const struct stage *stage, struct qd_error *err)
{
    struct qd_scales *scales = r->scales;
    struct qd_stage_report *report = &scales->stages[scales->n_stages];
    struct snapshot before;
    struct qd_network_error now = r->error, error;
    struct qd_error why = {""};
    enum qd_status status = take_snapshot(r, &before, err);
    bool undone;

    if (status != QD_OK)
        return status;
    snprintf(report->name, sizeof(report->name), "%s", stage->name);
    status = stage->run(r, report->text, sizeof(report->text), &why);
    if (status == QD_OK)
        status = qd_scales_apply(scales, r->graph, &why);
    if (status == QD_OK)
        status = measure(r, r->statistics->n_kept, &error, &why);
    /* Scales that a plan refuses, or images too large to be in flight together, are this stage's end, not the whole's.
     */
    undone = status == QD_UNSUPPORTED || status == QD_TOO_LARGE;
    if (undone) {
        snprintf(report->text, sizeof(report->text), "%.*s", (int)sizeof(report->text) - 1, why.text);
        error = now;
        status = QD_OK;
    } else if (status != QD_OK) {
        qd_error_set(err, status, "%s", why.text);
    }
    if (status == QD_OK) {
        report->kept = !undone && (stage->decides || qd_network_error_is_better(&error, &now));
        memcpy(report->before_db, now.db, sizeof(now.db));
        memcpy(report->after_db, error.db, sizeof(error.db));
        report->agreement = (error.agreement[0] + error.agreement[1]) / 2;
        r->error = report->kept ? error : now;
        scales->n_stages++;
    }
    if (status == QD_OK && !report->kept)
        status = go_back(r, &before, err);
    qd_arena_done(&before.memory);
    return status;
}

enum qd_status qd_refine(struct qd_refinement *r, struct qd_error *err)
{
    enum qd_status status = round_layers(r, NULL, true, err);

    if (status == QD_OK)
        status = qd_scales_apply(r->scales, r->graph, err);
    if (status == QD_OK)
        status = measure(r, r->statistics->n_kept, &r->error, err);
    for (size_t i = 0; i < QD_ARRAY_SIZE(stages) && status == QD_OK; i++) {
        if (r->skipped_stages >> i & 1)
            continue;
        status = qd_progress_step(r->progress, stages[i].name, i, QD_ARRAY_SIZE(stages), err);
        if (status == QD_OK)
            status = run_stage(r, &stages[i], err);
    }
    return status;
}
