#include "quant/calibrate.h"

#include <math.h>
#include <string.h>

#include "op/op.h"

struct calibration {
    const struct qd_graph *graph;
    const struct qd_calibration_options *options;
    struct qd_plan *plan;
    struct qd_frame *frame;
    struct qd_histogram *histograms; /* by value */
    enum qd_status *statuses;        /* by value: of adding in parallel */
    struct qd_bin **bins;            /* by value */
    size_t *n_bins;
    int *class_of;                   /* by value: the representative */
    struct qd_scales *scales;
};

static bool is_measured(const struct qd_graph *graph, int v)
{
    return graph->values[v].producer >= 0 && graph->values[v].dtype == QD_F32 && !graph->values[v].data;
}

static int find_class(int *class_of, int v)
{
    while (class_of[v] != v)
        v = class_of[v] = class_of[class_of[v]];
    return v;
}

static void join(int *class_of, int a, int b)
{
    a = find_class(class_of, a);
    b = find_class(class_of, b);
    class_of[a > b ? a : b] = a > b ? b : a;
}

/* Tensors that one operator copies into another must share a scale. */
static void find_classes(const struct qd_graph *graph, int *class_of)
{
    for (int v = 0; v < graph->n_values; v++)
        class_of[v] = v;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (!(node->op->flags & QD_OP_SAME_SCALE) || !is_measured(graph, node->outputs[0]))
            continue;
        for (int i = 0; i < node->n_inputs; i++)
            if (node->inputs[i] != QD_NO_VALUE && is_measured(graph, node->inputs[i]))
                join(class_of, node->outputs[0], node->inputs[i]);
        for (int i = 1; i < node->n_outputs; i++)
            if (node->outputs[i] != QD_NO_VALUE && is_measured(graph, node->outputs[i]))
                join(class_of, node->outputs[0], node->outputs[i]);
    }
}

static enum qd_status find_not_finite(const struct calibration *c, const struct qd_image_file *const *files, int n,
                                      struct qd_error *err)
{
    for (int v = 0; v < c->graph->n_values; v++) {
        int64_t count;

        if (!is_measured(c->graph, v) || !c->histograms[v].n_not_finite)
            continue;
        count = qd_shape_count(&c->graph->values[v].shape);
        for (int i = 0; i < n; i++) {
            const float *x = qd_frame_value_f32(c->frame, v, i);

            for (int64_t j = 0; j < count; j++)
                if (!isfinite(x[j]))
                    return qd_error_set(err, QD_INVALID, "tensor '%s' holds NaN or infinity for picture '%s'",
                                        c->graph->values[v].name, files[i]->path);
        }
    }
    return QD_OK;
}

/* One thread per tensor, pictures in order: no histogram is shared. */
static enum qd_status add_batch(struct calibration *c, const struct qd_image_file *const *files, int n,
                                struct qd_error *err)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(c->options->n_threads)
    for (int v = 0; v < c->graph->n_values; v++) {
        struct qd_error ignored = {""};

        if (!is_measured(c->graph, v))
            continue;
        for (int i = 0; i < n && c->statuses[v] == QD_OK; i++)
            c->statuses[v] = qd_histogram_add(&c->histograms[v], qd_frame_value_f32(c->frame, v, i),
                                              (size_t)qd_shape_count(&c->graph->values[v].shape), &ignored);
    }
    for (int v = 0; v < c->graph->n_values; v++)
        if (c->statuses[v] != QD_OK)
            return qd_error_set(err, c->statuses[v], "no memory for the histogram of '%s'", c->graph->values[v].name);
    return find_not_finite(c, files, n, err);
}

static enum qd_status run_images(struct calibration *c, const struct qd_image_file *const *files, size_t n_files,
                                 struct qd_error *err)
{
    int batch = c->options->n_threads;
    struct qd_arena scratch = {0};
    enum qd_status *statuses = qd_arena_array(&scratch, (size_t)batch, sizeof(*statuses)), status = QD_OK;
    struct qd_error *errors = qd_arena_array(&scratch, (size_t)batch, sizeof(*errors)), first = {""};
    uint8_t **inputs = qd_arena_array(&scratch, (size_t)batch, sizeof(*inputs));
    const struct qd_image_file **good = qd_arena_array(&scratch, (size_t)batch, sizeof(*good));
    size_t input_size = qd_preprocess_bytes(c->options->preprocess);

    if (!statuses || !errors || !inputs || !good)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory to calibrate");
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
                c->scales->n_skipped++;
                if (!first.text[0])
                    first = errors[i];
                continue;
            }
            if (n_good != i)
                memcpy(inputs[n_good], inputs[i], input_size);
            good[n_good++] = files[at + (size_t)i];
        }
        qd_frame_run(c->frame, n_good, batch);
        c->scales->n_images += n_good;
        status = add_batch(c, good, n_good, err);
    }
    qd_arena_done(&scratch);
    memcpy(c->scales->first_skipped, first.text, sizeof(first.text));
    if (status == QD_OK && !c->scales->n_images)
        status = qd_error_set(err, QD_INVALID, "none of %zu calibration pictures can be read; the first: %s", n_files,
                              first.text);
    return status;
}

/* 64 bins of half an octave of |x|, in thousandths, the top one holding the maximum. */
static void fill_report_histogram(const struct qd_bin *bins, size_t n_bins, uint64_t n_values, struct qd_value_scale *s)
{
    double counts[QD_REPORT_BINS] = {0};
    double largest = fmax(fabs((double)s->min), (double)s->max);

    s->histogram_low = largest > 0 ? ceilf(2 * log2f((float)largest)) / 2 - QD_REPORT_BINS / 2 : 0;
    for (size_t i = 0; i < n_bins; i++) {
        double middle = fabs((bins[i].low + bins[i].high) / 2);
        int at = (int)floor(2 * (log2(middle) - (double)s->histogram_low));

        counts[at < 0 ? 0 : at >= QD_REPORT_BINS ? QD_REPORT_BINS - 1 : at] += bins[i].n;
    }
    for (int i = 0; i < QD_REPORT_BINS; i++)
        s->histogram[i] = n_values ? (uint32_t)rint(1000 * counts[i] / (double)n_values) : 0;
}

static enum qd_status fill_value(const struct calibration *c, int v, struct qd_qparams q, struct qd_error *err)
{
    struct qd_value_scale *s = &c->scales->values[c->scales->n_values];
    int max = (1 << q.bits) - 1;
    double energy = qd_bins_energy(c->bins[v], c->n_bins[v]);
    double error = qd_bins_error(c->bins[v], c->n_bins[v], (double)q.scale, q.zero_point, max);

    s->name = qd_strdup(c->graph->values[v].name);
    if (!s->name)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    s->q = q;
    s->min = c->histograms[v].min;
    s->max = c->histograms[v].max;
    s->clip_ratio = qd_bins_clipped(c->bins[v], c->n_bins[v], (double)q.scale, q.zero_point, max, c->histograms[v].n);
    s->sqnr_db = energy > 0 && error > 0 ? 10 * log10(energy / error) : (double)NAN;
    s->cumulative_db = (double)NAN;
    fill_report_histogram(c->bins[v], c->n_bins[v], c->histograms[v].n, s);
    c->scales->n_values++;
    return QD_OK;
}

static enum qd_status choose_class(const struct calibration *c, int class, struct qd_qparams *ret, struct qd_error *err)
{
    int n_values = c->graph->n_values;
    struct qd_distribution d = {0};
    struct qd_arena scratch = {0};
    const struct qd_bin **bins = qd_arena_array(&scratch, (size_t)n_values, sizeof(*bins));
    size_t *n_bins = qd_arena_array(&scratch, (size_t)n_values, sizeof(*n_bins));

    if (!bins || !n_bins) {
        qd_arena_done(&scratch);
        return qd_error_set(err, QD_NO_MEMORY, "no memory to choose scales");
    }
    for (int v = 0; v < n_values; v++) {
        if (!is_measured(c->graph, v) || find_class(c->class_of, v) != class)
            continue;
        bins[d.n_tensors] = c->bins[v];
        n_bins[d.n_tensors++] = c->n_bins[v];
        d.min = fminf(d.min, c->histograms[v].min);
        d.max = fmaxf(d.max, c->histograms[v].max);
        d.n_values += c->histograms[v].n;
    }
    d.bins = bins;
    d.n_bins = n_bins;
    *ret = c->options->method->choose(&d, c->options->activation_bits);
    qd_arena_done(&scratch);
    return QD_OK;
}

static enum qd_status choose_scales(struct calibration *c, struct qd_error *err)
{
    int n = c->graph->n_values;
    struct qd_qparams *chosen = NULL;
    enum qd_status status = qd_alloc_for((void **)&chosen, (size_t)n + 1, sizeof(*chosen), "scales", err);

    if (status == QD_OK)
        status = qd_alloc_for((void **)&c->scales->values, (size_t)n + 1, sizeof(*c->scales->values), "scales", err);
    for (int v = 0; v < n && status == QD_OK; v++)
        if (is_measured(c->graph, v))
            status = qd_histogram_bins(&c->histograms[v], &c->bins[v], &c->n_bins[v], err);
    if (status == QD_OK) {
        find_classes(c->graph, c->class_of);
#pragma omp parallel for schedule(dynamic, 1) num_threads(c->options->n_threads)
        for (int v = 0; v < n; v++) {
            struct qd_error ignored = {""};

            if (is_measured(c->graph, v) && find_class(c->class_of, v) == v)
                c->statuses[v] = choose_class(c, v, &chosen[v], &ignored);
        }
    }
    for (int v = 0; v < n && status == QD_OK; v++) {
        if (!is_measured(c->graph, v))
            continue;
        status = c->statuses[v] == QD_OK ? fill_value(c, v, chosen[find_class(c->class_of, v)], err)
                                         : qd_error_set(err, c->statuses[v], "no memory to choose scales");
    }
    qd_free(chosen);
    return status;
}

enum qd_status qd_calibrate(const struct qd_graph *graph, const struct qd_image_file *const *files, size_t n_files,
                            const struct qd_calibration_options *options, struct qd_scales **ret, struct qd_error *err)
{
    struct qd_plan_options plan_options = {QD_PRECISION_F32, options->n_threads, options->kernels, true, false};
    struct calibration c = {.graph = graph, .options = options};
    struct qd_arena memory = {0};
    size_t n = (size_t)graph->n_values + 1;
    enum qd_status status = qd_plan_new(graph, &plan_options, &c.plan, err);

    if (status == QD_OK)
        status = qd_frame_new(c.plan, options->n_threads, &c.frame, err);
    c.histograms = qd_arena_array(&memory, n, sizeof(*c.histograms));
    c.statuses = qd_arena_array(&memory, n, sizeof(*c.statuses));
    c.bins = qd_arena_array(&memory, n, sizeof(*c.bins));
    c.n_bins = qd_arena_array(&memory, n, sizeof(*c.n_bins));
    c.class_of = qd_arena_array(&memory, n, sizeof(*c.class_of));
    c.scales = qd_alloc(sizeof(*c.scales));
    if (status == QD_OK && (!c.histograms || !c.statuses || !c.bins || !c.n_bins || !c.class_of || !c.scales))
        status = qd_error_set(err, QD_NO_MEMORY, "no memory to calibrate");
    if (status == QD_OK) {
        strncpy(c.scales->method, options->method->name, sizeof(c.scales->method) - 1);
        status = run_images(&c, files, n_files, err);
    }
    if (status == QD_OK)
        status = qd_progress_step(options->progress, "choosing scales", n_files, n_files, err);
    if (status == QD_OK)
        status = choose_scales(&c, err);
    for (int v = 0; v < graph->n_values; v++) {
        if (c.histograms)
            qd_histogram_done(&c.histograms[v]);
        if (c.bins)
            qd_free(c.bins[v]);
    }
    qd_arena_done(&memory);
    qd_frame_free(c.frame);
    qd_plan_free(c.plan);
    if (status != QD_OK)
        qd_scales_free(c.scales);
    else
        *ret = c.scales;
    return status;
}
