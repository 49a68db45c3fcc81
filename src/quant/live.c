#include "quant/live.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "quant/evaluate.h"
#include "quant/histogram.h"
#include "quant/network_error.h"
#include "quant/statistics.h"

#define N_HALVES 512     /* half octaves of a float's exponents */
#define FEW_VALUES 16384 /* of a picture's tensor are enough for its distribution */

struct layer {
    const struct qd_value_scale *scale;
    bool is_rounded; /* int8 keeps it as bytes: else there is nothing that clips */
    int64_t stride;  /* between the floats that count for its distribution */
    double n_values; /* of those in a picture */
    int n_classes, class_of[QD_LIVE_BINS];
    double expected[QD_PSI_CLASSES];
    double observed[QD_PSI_CLASSES], clipped; /* means over the window */
    double now[QD_PSI_CLASSES], clipped_now;  /* of the picture under way */
    _Atomic float shown_saturation, shown_drift;
};

struct qd_live {
    const struct qd_graph *graph;
    struct qd_arena arena;
    struct qd_plan *plan;
    struct qd_frame *frame;
    struct layer *layers;
    int n_layers;
    int *layer_of; /* by value, -1: none */
    bool has_logits;
    double agreement, sqnr_db;
    atomic_int n_images;
    _Atomic float shown_agreement, shown_sqnr_db, shown_drift;
};

double qd_window_add(double mean, int n, int window, double x)
{
    return mean + (x - mean) / (n < window ? n : window);
}

double qd_psi(const double *expected, const double *observed, int n)
{
    double sum_p = 0, sum_q = 0, psi = 0;

    for (int i = 0; i < n; i++) {
        sum_p += observed[i] + QD_PSI_FLOOR;
        sum_q += expected[i] + QD_PSI_FLOOR;
    }
    for (int i = 0; i < n; i++) {
        double p = (observed[i] + QD_PSI_FLOOR) / sum_p, q = (expected[i] + QD_PSI_FLOOR) / sum_q;

        psi += (p - q) * log(p / q);
    }
    return psi;
}

int qd_psi_classes(const double *shares, int *ret_class_of)
{
    double left = 0, held = 0, tenth;
    int n = 1;

    for (int i = 0; i < QD_LIVE_BINS; i++)
        left += shares[i];
    tenth = left / QD_PSI_CLASSES * (1 - 1e-9); /* sums are rounded */
    for (int i = 0; i < QD_LIVE_BINS; i++) {
        /* A new class where this one has its tenth and another could get its own. */
        if (held >= tenth && left >= tenth && n < QD_PSI_CLASSES) {
            held = 0;
            n++;
        }
        ret_class_of[i] = n - 1;
        held += shares[i];
        left -= shares[i];
    }
    return n;
}

/*
 * By the exponent and whether the mantissa is in the upper half of its octave, as a histogram's bins are. Four tables,
 * so that equal values one after the other do not wait.
 */
static void count_halves(const float *x, int64_t n, int64_t stride, uint32_t ret[N_HALVES])
{
    uint32_t counts[4][N_HALVES] = {{0}};

    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i * stride], sizeof(bits));
        bits &= 0x7fffffff;
        counts[i & 3][(bits >> 23) * 2 + ((bits & 0x7fffff) >> QD_BIN_INNER_BITS >= QD_UPPER_HALF_BIN)]++;
    }
    for (int h = 0; h < N_HALVES; h++)
        ret[h] = counts[0][h] + counts[1][h] + counts[2][h] + counts[3][h];
}

void qd_live_shares(const float *x, int64_t n, int64_t stride, float histogram_low, double *ret)
{
    int lowest = 2 * 127 + (int)lrintf(2 * histogram_low);
    uint32_t halves[N_HALVES];

    count_halves(x, n, stride, halves);
    memset(ret, 0, QD_LIVE_BINS * sizeof(*ret));
    /* Exponent 0: zeros, and what is too small for a normal float. */
    ret[0] = (double)(halves[0] + halves[1]) / (double)n;
    for (int h = 2; h < N_HALVES; h++) {
        int at = h - lowest;

        ret[at < 0 ? 1 : at >= QD_REPORT_BINS ? QD_REPORT_BINS : at + 1] += (double)halves[h] / (double)n;
    }
}

/* The calibration's distribution; false where it kept none. */
static bool expected_of(const struct qd_value_scale *scale, double *ret)
{
    double sum = 0;

    for (int i = 0; i < QD_REPORT_BINS; i++) {
        ret[i + 1] = (double)scale->histogram[i] / 1e6;
        sum += ret[i + 1];
    }
    ret[0] = fmax(0, 1 - sum);
    return sum > 0 && isfinite(scale->clip_ratio);
}

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    return b ? greatest_divisor(b, a % b) : a;
}

/* So that of a large tensor FEW_VALUES or so count, and all columns alike: those at a border are not as the others. */
static int64_t stride_of(const struct qd_shape *shape)
{
    int64_t width = shape->n_dims ? shape->dims[shape->n_dims - 1] : 1, stride = qd_shape_count(shape) / FEW_VALUES;

    for (stride = stride ? stride : 1; greatest_divisor(width, stride) != 1; stride++)
        ;
    return stride;
}

static enum qd_status list_layers(struct qd_live *live, const struct qd_scales *scales, const struct qd_plan *int8,
                                  struct qd_error *err)
{
    live->layers = qd_arena_array(&live->arena, scales->n_values + 1, sizeof(*live->layers));
    live->layer_of = qd_arena_array(&live->arena, (size_t)live->graph->n_values + 1, sizeof(*live->layer_of));
    if (!live->layers || !live->layer_of)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to monitor");
    for (int v = 0; v < live->graph->n_values; v++)
        live->layer_of[v] = -1;
    for (size_t s = 0; s < scales->n_values; s++) {
        int v = qd_graph_find_value(live->graph, scales->values[s].name);
        struct layer *layer = &live->layers[live->n_layers];
        double shares[QD_LIVE_BINS];

        if (v < 0 || !qd_is_measured(live->graph, v) || !qd_shape_count(&live->graph->values[v].shape) ||
            !expected_of(&scales->values[s], shares))
            continue;
        layer->n_classes = qd_psi_classes(shares, layer->class_of);
        for (int i = 0; i < QD_LIVE_BINS; i++)
            layer->expected[layer->class_of[i]] += shares[i];
        layer->scale = &scales->values[s];
        layer->stride = stride_of(&live->graph->values[v].shape);
        layer->n_values = (double)(qd_shape_count(&live->graph->values[v].shape) / layer->stride);
        layer->is_rounded = qd_plan_has_q8(int8, v);
        atomic_init(&layer->shown_saturation, NAN);
        atomic_init(&layer->shown_drift, NAN);
        live->layer_of[v] = live->n_layers++;
    }
    return QD_OK;
}

enum qd_status qd_live_new(const struct qd_graph *graph, const struct qd_scales *scales, const struct qd_plan *int8,
                           struct qd_live **ret, struct qd_error *err)
{
    /* In order, and looked at between steps: then tensors may share memory, and the frame stays small. */
    struct qd_plan_options options = {
        .precision = QD_PRECISION_F32, .max_batch = 1, .kernels = qd_plan_kernels(int8), .in_order = true};
    int logits = qd_logits_of(graph, 0);
    struct qd_live *live;
    enum qd_status status;

    if (logits == QD_NO_VALUE)
        return qd_error_set(err, QD_UNSUPPORTED, "output '%s' is no float that the network computes",
                            graph->values[graph->outputs[0]].name);
    live = qd_alloc(sizeof(*live));
    if (!live)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to monitor");
    live->graph = graph;
    live->has_logits = logits == graph->outputs[0];
    atomic_init(&live->shown_agreement, NAN);
    atomic_init(&live->shown_sqnr_db, NAN);
    atomic_init(&live->shown_drift, NAN);
    status = list_layers(live, scales, int8, err);
    if (status == QD_OK)
        status = qd_plan_new(graph, &options, &live->plan, err);
    if (status == QD_OK)
        status = qd_frame_new(live->plan, 1, &live->frame, err);
    if (status != QD_OK) {
        qd_live_free(live);
        return status;
    }
    *ret = live;
    return QD_OK;
}

void qd_live_free(struct qd_live *live)
{
    if (!live)
        return;
    qd_frame_free(live->frame);
    qd_plan_free(live->plan);
    qd_arena_done(&live->arena);
    qd_free(live);
}

size_t qd_live_memory_bytes(const struct qd_live *live)
{
    return qd_plan_frame_bytes(live->plan, 1) + live->arena.used_bytes;
}

static void look_at(struct qd_live *live, int value)
{
    struct layer *layer =
        value == QD_NO_VALUE || live->layer_of[value] < 0 ? NULL : &live->layers[live->layer_of[value]];
    const struct qd_value *v = layer ? &live->graph->values[value] : NULL;
    const float *x = layer ? qd_frame_value_f32(live->frame, value, 0) : NULL;
    double shares[QD_LIVE_BINS];

    if (!x)
        return;
    qd_live_shares(x, (qd_shape_count(&v->shape) + layer->stride - 1) / layer->stride, layer->stride,
                   layer->scale->histogram_low, shares);
    memset(layer->now, 0, sizeof(layer->now));
    for (int i = 0; i < QD_LIVE_BINS; i++)
        layer->now[layer->class_of[i]] += shares[i];
    if (layer->is_rounded)
        layer->clipped_now = (double)qd_clipped_count(v, x) / (double)qd_shape_count(&v->shape);
}

/*
 * Whether n pictures make one. Chance alone gives k classes of N values a PSI of (k - 1) / N, which has to be far below
 * what is called a drift.
 */
static bool is_distribution(const struct layer *layer, int n)
{
    int in_window = n < QD_DRIFT_WINDOW ? n : QD_DRIFT_WINDOW;

    return n >= QD_DRIFT_FEWEST && (double)in_window * layer->n_values >= QD_DRIFT_VALUES * (double)layer->n_classes;
}

/* The picture under way is whole: it joins the windows. Returns the largest drift of a layer. */
static double add_layers(struct qd_live *live, int n)
{
    double largest = (double)NAN;

    for (int l = 0; l < live->n_layers; l++) {
        struct layer *layer = &live->layers[l];
        double psi;

        for (int i = 0; i < layer->n_classes; i++)
            layer->observed[i] = qd_window_add(layer->observed[i], n, QD_DRIFT_WINDOW, layer->now[i]);
        layer->clipped = qd_window_add(layer->clipped, n, QD_DRIFT_WINDOW, layer->clipped_now);
        psi = qd_psi(layer->expected, layer->observed, layer->n_classes);
        if (layer->is_rounded)
            atomic_store(&layer->shown_saturation, (float)layer->clipped);
        if (!is_distribution(layer, n))
            continue;
        atomic_store(&layer->shown_drift, (float)psi);
        largest = fmax(largest, psi); /* the other one, where one is NAN */
    }
    return largest;
}

bool qd_live_add(struct qd_live *live, const uint8_t *pixels, const float *answer, bool (*goes_on)(const void *context),
                 const void *context, bool *ret_agrees)
{
    int h, w, c, n = atomic_load(&live->n_images) + 1;
    struct qd_comparison compared;
    double drift;

    qd_plan_input_size(live->plan, &h, &w, &c);
    memcpy(qd_frame_input(live->frame, 0), pixels, (size_t)h * (size_t)w * (size_t)c);
    for (int s = 0; s < qd_plan_n_steps(live->plan); s++) {
        struct qd_step_info step;

        if (!goes_on(context))
            return false;
        qd_frame_run_step(live->frame, s, 1, 1);
        qd_plan_step(live->plan, s, &step);
        for (int o = 0; step.node && o < step.node->n_outputs; o++)
            look_at(live, step.node->outputs[o]);
    }
    qd_compare_outputs(qd_frame_output(live->frame, 0, 0), answer, qd_plan_output_count(live->plan, 0), &compared);
    live->agreement = qd_window_add(live->agreement, n, QD_AGREEMENT_WINDOW, compared.agrees);
    live->sqnr_db = qd_window_add(live->sqnr_db, n, QD_AGREEMENT_WINDOW, compared.db);
    drift = add_layers(live, n);
    atomic_store(&live->shown_agreement, (float)live->agreement);
    if (live->has_logits)
        atomic_store(&live->shown_sqnr_db, (float)live->sqnr_db);
    atomic_store(&live->shown_drift, (float)drift);
    atomic_store(&live->n_images, n < QD_AGREEMENT_WINDOW ? n : QD_AGREEMENT_WINDOW);
    *ret_agrees = compared.agrees;
    return true;
}

void qd_live_read(const struct qd_live *live, struct qd_live_figures *ret)
{
    *ret = (struct qd_live_figures){
        .n_images = atomic_load(&live->n_images),
        .agreement = (double)atomic_load(&live->shown_agreement),
        .sqnr_db = (double)atomic_load(&live->shown_sqnr_db),
        .drift = (double)atomic_load(&live->shown_drift),
    };
}

int qd_live_n_layers(const struct qd_live *live)
{
    return live->n_layers;
}

void qd_live_layer(const struct qd_live *live, int i, struct qd_live_layer *ret)
{
    const struct layer *layer = &live->layers[i];

    *ret = (struct qd_live_layer){
        .name = layer->scale->name,
        .saturation = (double)atomic_load(&layer->shown_saturation),
        .baseline = layer->is_rounded ? layer->scale->clip_ratio : (double)NAN,
        .drift = (double)atomic_load(&layer->shown_drift),
    };
}
