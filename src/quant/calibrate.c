#include "quant/calibrate.h"

#include <math.h>
#include <string.h>

#include "op/op.h"
#include "quant/classes.h"
#include "quant/refine.h"
#include "quant/statistics.h"
#include "quant/step_classes.h"

struct calibration {
    struct qd_graph *graph;
    const struct qd_calibration_options *options;
    struct qd_statistics statistics;
    enum qd_status *statuses; /* by value: of choosing in parallel */
    struct qd_bin **bins;     /* by value */
    size_t *n_bins;
    int *class_of;             /* by value: the representative of those that share its scale */
    struct qd_qparams *chosen; /* by class */
    struct qd_scales *scales;
};

/* 64 bins of half an octave of |x|, in millionths, the top one holding the maximum. */
static void fill_report_histogram(const struct qd_bin *bins, size_t n_bins, uint64_t n_values, struct qd_value_scale *s)
{
    double counts[QD_REPORT_BINS];
    double largest = fmax(fabs((double)s->min), (double)s->max);

    s->histogram_low = largest > 0 ? ceilf(2 * log2f((float)largest)) / 2 - QD_REPORT_BINS / 2 : 0;
    qd_bins_halves(bins, n_bins, (double)s->histogram_low, counts, QD_REPORT_BINS);
    for (int i = 0; i < QD_REPORT_BINS; i++)
        s->histogram[i] = n_values ? (uint32_t)rint(1e6 * counts[i] / (double)n_values) : 0;
}

static enum qd_status fill_value(const struct calibration *c, int v, struct qd_qparams q, struct qd_error *err)
{
    struct qd_value_scale *s = &c->scales->values[c->scales->n_values];
    int max = (1 << q.bits) - 1;
    double energy = qd_bins_energy(c->bins[v], c->n_bins[v]);
    double error = qd_bins_error(c->bins[v], c->n_bins[v], (double)q.scale, q.zero_point, max);

    s->name = qd_arena_strdup(&c->scales->arena, c->graph->values[v].name);
    if (!s->name)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    s->q = q;
    s->min = c->statistics.histograms[v].min;
    s->max = c->statistics.histograms[v].max;
    s->clip_ratio =
        qd_bins_clipped(c->bins[v], c->n_bins[v], (double)q.scale, q.zero_point, max, c->statistics.histograms[v].n);
    s->sqnr_db = energy > 0 && error > 0 ? 10 * log10(energy / error) : (double)NAN;
    s->cumulative_db = (double)NAN;
    fill_report_histogram(c->bins[v], c->n_bins[v], c->statistics.histograms[v].n, s);
    c->scales->n_values++;
    return QD_OK;
}

/*
 * Whether the operator's multiplier is a ratio of activation scales alone, with no weights' scale to make it fit. A
 * Requantize has none: it is a table.
 */
static bool joins_scales(const struct qd_node *node, int v)
{
    if (qd_node_shares_scale(node) || node->op == &qd_op_requantize)
        return false;
    if (!node->op->layer)
        return true;
    return node->residual >= 0 && (node->outputs[0] == v || node->inputs[node->residual] == v);
}

static bool is_member(const struct calibration *c, int v, const int classes[2])
{
    return qd_is_measured(c->graph, v) && (c->class_of[v] == classes[0] || c->class_of[v] == classes[1]);
}

/* Whether some member of the classes goes through such an operator. */
static bool meets_activations(const struct calibration *c, const int classes[2])
{
    const struct qd_graph *graph = c->graph;

    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; i < node->n_inputs + node->n_outputs; i++) {
            int v = i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];

            if (v != QD_NO_VALUE && is_member(c, v, classes) && joins_scales(node, v))
                return true;
        }
    }
    return false;
}

/* Whether a tensor is another of the classes by a second name, and counts already. */
static bool is_second_name(const struct calibration *c, int v, const int classes[2])
{
    const struct qd_node *maker = &c->graph->nodes[c->graph->values[v].producer];

    return maker->op == &qd_op_requantize && is_member(c, maker->inputs[0], classes);
}

/* The tensors of two classes as one; or of one, given twice. */
static enum qd_status gather(const struct calibration *c, const int classes[2], struct qd_arena *arena,
                             struct qd_distribution *ret, struct qd_error *err)
{
    int n_values = c->graph->n_values;
    const struct qd_bin **bins = qd_arena_array(arena, (size_t)n_values, sizeof(*bins));
    size_t *n_bins = qd_arena_array(arena, (size_t)n_values, sizeof(*n_bins));

    *ret = (struct qd_distribution){.bins = bins, .n_bins = n_bins};
    if (!bins || !n_bins)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to choose scales");
    for (int v = 0; v < n_values; v++) {
        if (!is_member(c, v, classes) || is_second_name(c, v, classes))
            continue;
        bins[ret->n_tensors] = c->bins[v];
        n_bins[ret->n_tensors++] = c->n_bins[v];
        ret->min = fminf(ret->min, c->statistics.histograms[v].min);
        ret->max = fmaxf(ret->max, c->statistics.histograms[v].max);
        ret->n_values += c->statistics.histograms[v].n;
    }
    return QD_OK;
}

static struct qd_qparams choose_for(const struct calibration *c, const int classes[2], const struct qd_distribution *d)
{
    const struct qd_calibration_form *form = &c->options->form;
    struct qd_qparams q = c->options->method->choose(d, form->activation_bits);

    if (!c->options->method->staged)
        return q;
    return qd_constrain(d, q, form,
                        form->power_of_two ||
                            (form->multiplier_bits < QD_NARROW_MULTIPLIER && meets_activations(c, classes)));
}

static enum qd_status choose_class(const struct calibration *c, int class, struct qd_qparams *ret, struct qd_error *err)
{
    const int classes[] = {class, class};
    struct qd_distribution d;
    struct qd_arena scratch = {0};
    enum qd_status status = gather(c, classes, &scratch, &d, err);

    if (status == QD_OK)
        *ret = choose_for(c, classes, &d);
    qd_arena_done(&scratch);
    return status;
}

/* Makes the classes on both sides of a Requantize one where two scales do not pay. */
static enum qd_status decide_cut(struct calibration *c, const struct qd_node *node, struct qd_error *err)
{
    int in = node->inputs[0], out = node->outputs[0], a = c->class_of[in], b = c->class_of[out];
    const struct qd_bin *edge_bins = c->bins[in];
    struct qd_cut cut = {.q = {c->chosen[a], c->chosen[b]}};
    struct qd_arena scratch = {0};
    struct qd_distribution both;
    enum qd_status status = gather(c, (const int[]){a, a}, &scratch, &cut.side[0], err);

    cut.edge = (struct qd_distribution){.bins = &edge_bins, .n_bins = &c->n_bins[in], .n_tensors = 1};
    if (status == QD_OK)
        status = gather(c, (const int[]){b, b}, &scratch, &cut.side[1], err);
    if (status == QD_OK)
        status = gather(c, (const int[]){a, b}, &scratch, &both, err);
    if (status == QD_OK)
        cut.one = choose_for(c, (const int[]){a, b}, &both);
    if (status == QD_OK && !qd_cut_pays(&cut))
        c->chosen[qd_classes_join(c->class_of, c->graph->n_values, in, out)] = cut.one;
    qd_arena_done(&scratch);
    return status;
}

/* From the first Requantize to the last, so that what was joined before counts as one. */
static enum qd_status decide_cuts(struct calibration *c, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    for (int n = 0; n < c->graph->n_nodes && status == QD_OK; n++) {
        const struct qd_node *node = &c->graph->nodes[n];

        if (node->op == &qd_op_requantize && qd_is_measured(c->graph, node->inputs[0]) &&
            c->class_of[node->inputs[0]] != c->class_of[node->outputs[0]])
            status = decide_cut(c, node, err);
    }
    return status;
}

static enum qd_status choose_scales(struct calibration *c, struct qd_error *err)
{
    int n = c->graph->n_values;
    enum qd_status status = QD_OK;

    c->scales->values = qd_arena_array(&c->scales->arena, (size_t)n + 1, sizeof(*c->scales->values));
    if (!c->scales->values)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    for (int v = 0; v < n && status == QD_OK; v++)
        if (qd_is_measured(c->graph, v))
            status = qd_histogram_bins(&c->statistics.histograms[v], &c->bins[v], &c->n_bins[v], err);
    if (status != QD_OK)
        return status;
    qd_classes_find(c->graph, c->class_of);
#pragma omp parallel for schedule(dynamic, 1) num_threads(c->options->n_threads)
    for (int v = 0; v < n; v++) {
        struct qd_error ignored = {""};

        if (qd_is_measured(c->graph, v) && c->class_of[v] == v)
            c->statuses[v] = choose_class(c, v, &c->chosen[v], &ignored);
    }
    for (int v = 0; v < n && status == QD_OK; v++)
        if (c->statuses[v] != QD_OK)
            status = qd_error_set(err, c->statuses[v], "no memory to choose scales");
    if (status == QD_OK)
        status = decide_cuts(c, err);
    for (int v = 0; v < n && status == QD_OK; v++)
        if (qd_is_measured(c->graph, v))
            status = fill_value(c, v, c->chosen[c->class_of[v]], err);
    return status;
}

static enum qd_status measure(struct calibration *c, const struct qd_image_file *const *files, size_t n_files,
                              struct qd_arena *memory, struct qd_error *err)
{
    const struct qd_calibration_options *options = c->options;
    struct qd_statistics_options statistics = {
        .n_threads = options->n_threads,
        .kernels = options->kernels,
        .preprocess = options->preprocess,
        .limits = options->limits,
        .progress = options->progress,
        .layers = options->method->staged,
    };
    bool *channels = qd_arena_array(memory, (size_t)c->graph->n_values + 1, sizeof(bool));
    struct qd_step_class *classes;
    int n_classes = 0;
    enum qd_status status = QD_OK;

    if (!channels)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to calibrate");
    if (options->method->staged && !options->form.layerwise)
        status = qd_step_classes_find(c->graph, &options->form, memory, &classes, &n_classes, err);
    if (status != QD_OK)
        return status;
    for (int i = 0; i < n_classes; i++)
        for (int j = 0; j < classes[i].n_values; j++)
            channels[classes[i].values[j]] = true;
    statistics.channels = channels;
    return qd_statistics_make(c->graph, files, n_files, &statistics, &c->statistics, err);
}

static enum qd_status refine(struct calibration *c, struct qd_error *err)
{
    struct qd_refinement refinement = {
        .graph = c->graph,
        .statistics = &c->statistics,
        .scales = c->scales,
        .form = &c->options->form,
        .kernels = c->options->kernels,
        .n_threads = c->options->n_threads,
        .skipped_stages = c->options->skipped_stages,
        .progress = c->options->progress,
    };

    return c->options->method->staged ? qd_refine(&refinement, err) : QD_OK;
}

enum qd_status qd_calibrate(struct qd_graph *graph, const struct qd_image_file *const *files, size_t n_files,
                            const struct qd_calibration_options *options, struct qd_scales **ret, struct qd_error *err)
{
    struct calibration c = {.graph = graph, .options = options, .scales = qd_scales_new()};
    struct qd_arena memory = {0};
    size_t n = (size_t)graph->n_values + 1;
    enum qd_status status = QD_OK;

    c.statuses = qd_arena_array(&memory, n, sizeof(*c.statuses));
    c.bins = qd_arena_array(&memory, n, sizeof(*c.bins));
    c.n_bins = qd_arena_array(&memory, n, sizeof(*c.n_bins));
    c.class_of = qd_arena_array(&memory, n, sizeof(*c.class_of));
    c.chosen = qd_arena_array(&memory, n, sizeof(*c.chosen));
    if (!c.statuses || !c.bins || !c.n_bins || !c.class_of || !c.chosen || !c.scales)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory to calibrate");
    if (status == QD_OK)
        status = measure(&c, files, n_files, &memory, err);
    if (status == QD_OK) {
        strncpy(c.scales->method, options->method->name, sizeof(c.scales->method) - 1);
        c.scales->multiplier_bits = options->form.multiplier_bits;
        c.scales->n_images = c.statistics.n_images;
        c.scales->n_skipped = c.statistics.n_skipped;
        memcpy(c.scales->first_skipped, c.statistics.first_skipped, sizeof(c.scales->first_skipped));
        status = qd_progress_step(options->progress, "choosing scales", n_files, n_files, err);
    }
    if (status == QD_OK)
        status = choose_scales(&c, err);
    if (status == QD_OK)
        status = qd_scales_list_layers(c.scales, graph, options->form.weight_bits, err);
    if (status == QD_OK)
        status = qd_scales_apply(c.scales, graph, err);
    if (status == QD_OK)
        status = refine(&c, err);
    for (int v = 0; v < graph->n_values && c.bins; v++)
        qd_free(c.bins[v]);
    qd_statistics_done(&c.statistics);
    qd_arena_done(&memory);
    if (status != QD_OK)
        qd_scales_free(c.scales);
    else
        *ret = c.scales;
    return status;
}
