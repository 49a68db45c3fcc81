#include "quant/channel_steps.h"

#include <math.h>
#include <string.h>

#include "op/piecewise.h"

#define N_STEPS 33          /* of 1/8 octave that are tried for a channel */
#define LEAST_STEP 0x1p-10f /* of the largest: keeps multipliers and their products in range */
#define ROUNDING_GAIN 0.25  /* of the error of rounding weights to nearest, what rounding for the output leaves */
#define WORTH 0.95          /* of the error with one step: else the steps are not used */

struct choice {
    const struct qd_statistics *s;
    const struct qd_channel_statistics *channels;
    int c, max; /* channels, the highest byte */
    double pixels;
    struct qd_bin **bins; /* by channel */
    size_t *n_bins;
    double *energy; /* by channel: squares of the readers' weights on it, summed */
    double finest;  /* step that a channel may have; 0: any */
    int value;
    const struct qd_calibration_form *form;
};

/* A curve is a second multiplication per channel, which hardware with narrow multipliers has not. */
static bool activation_allows(const struct qd_activation *act, const struct qd_calibration_form *form)
{
    switch (act->kind) {
    case QD_ACT_NONE:
    case QD_ACT_LEAKY:
    case QD_ACT_HARDSWISH:
        return true;
    case QD_ACT_SILU:
    case QD_ACT_GELU:
    case QD_ACT_MISH:
        return form->multiplier_bits >= 24;
    case QD_ACT_CLIP: /* 0 is the lowest byte of every channel; a bound from above is never passed by the steps chosen
                       */
        return act->min == 0 || isinf(act->min);
    default:
        return false;
    }
}

bool qd_takes_channel_steps(const struct qd_graph *graph, int v, const struct qd_calibration_form *form)
{
    const struct qd_value *value = &graph->values[v];
    const struct qd_node *producer = value->producer >= 0 ? &graph->nodes[value->producer] : NULL;
    int n_readers = 0;

    if (!producer || !qd_value_is_picture(value) || qd_graph_is_output(graph, v) || !producer->op->channel_steps ||
        !producer->op->channel_steps(graph, producer, QD_STEPS_OF_OUTPUT) || producer->precision != QD_PRECISION_Q8 ||
        producer->outputs[0] != v || !activation_allows(&producer->act, form))
        return false;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != v)
                continue;
            if (!node->op->channel_steps || !node->op->channel_steps(graph, node, i) || i == node->residual ||
                node->precision != QD_PRECISION_Q8)
                return false;
            /* A mean alone is not worth it: what it reads are often the classes, of which each is seldom large. */
            n_readers += node->op->layer || node->op->channel_steps(graph, node, QD_STEPS_OF_OUTPUT);
        }
    }
    return n_readers > 0;
}

static const struct qd_layer_statistics *next_reader(const struct choice *choice, const struct qd_layer_statistics *l)
{
    const struct qd_statistics *s = choice->s;

    for (l = l ? l + 1 : s->layers; l < s->layers + s->n_layers; l++)
        if (s->graph->nodes[l->node].inputs[0] == choice->value)
            return l;
    return NULL;
}

static bool is_depthwise(const struct qd_layer_statistics *l)
{
    return l->layer.group == l->layer.c;
}

/* Weight i of a row that output o has: its input channel. */
static int channel_of(const struct qd_layer_statistics *l, int o, int i)
{
    int c_group = l->layer.c / l->layer.group, group = o / (l->layer.n / l->layer.group);

    return group * c_group + i / (l->k / c_group);
}

static void add_energy(const struct qd_layer_statistics *l, double *energy)
{
    for (int o = 0; o < l->layer.n; o++)
        for (int i = 0; i < l->k; i++) {
            double w = (double)l->layer.weights[(ptrdiff_t)o * l->k + i];

            energy[channel_of(l, o, i)] += w * w;
        }
}

static enum qd_status make_bins(const struct qd_channel_statistics *channel, struct qd_arena *arena,
                                struct qd_bin **ret, size_t *ret_n, struct qd_error *err)
{
    size_t n = 0;
    struct qd_bin *bins;

    for (int i = 0; i < 2 * QD_CHANNEL_BINS; i++)
        n += channel->n[i / QD_CHANNEL_BINS][i % QD_CHANNEL_BINS] != 0;
    bins = qd_arena_array(arena, n + 1, sizeof(*bins));
    if (!bins)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    *ret = bins;
    *ret_n = n;
    for (int i = 0; i < 2 * QD_CHANNEL_BINS; i++) {
        int bin = i % QD_CHANNEL_BINS, sign = i / QD_CHANNEL_BINS;
        double count = channel->n[sign][bin], base = ldexp(1, bin / 8 + QD_CHANNEL_LOWEST);
        double low = base * (1 + bin % 8 / 8.0), high = base * (1 + (bin % 8 + 1) / 8.0);

        if (count == 0)
            continue;
        bins->low = sign ? -high : low;
        bins->high = sign ? -low : high;
        bins->low = fmax(bins->low, (double)channel->min);
        bins->high = fmin(bins->high, (double)channel->max);
        bins->n = count;
        bins->sum = count * (bins->low + bins->high) / 2;
        bins->squares = count * (bins->low * bins->low + bins->low * bins->high + bins->high * bins->high) / 3;
        bins++;
    }
    return QD_OK;
}

/* A channel's mean squared error at a step. */
static double channel_error(const struct choice *choice, int c, double step, int zero)
{
    return qd_bins_error(choice->bins[c], choice->n_bins[c], step, zero, choice->max) / choice->pixels;
}

/* The step that loses nothing of a channel by clipping. */
static double widest_step(const struct choice *choice, int c, int zero)
{
    double high = (double)choice->channels[c].max / (choice->max > zero ? choice->max - zero : 1);
    double low = zero ? -(double)choice->channels[c].min / zero : 0;

    return high > low ? high : low;
}

/* The best step of each channel by itself; returns the error at the readers' outputs. */
static double choose_alone(const struct choice *choice, int zero, double *ret_steps)
{
    double total = 0;

    for (int c = 0; c < choice->c; c++) {
        double widest = widest_step(choice, c, zero), least = INFINITY;

        ret_steps[c] = 0;
        for (int i = 0; i < N_STEPS && widest > 0; i++) {
            double step = widest * exp2(-i / 8.0), error;

            if (choice->form->power_of_two && i % 8)
                continue;
            if (choice->form->power_of_two)
                step = exp2(ceil(log2(widest)) - i / 8);
            step = fmax(step, choice->finest);
            error = channel_error(choice, c, step, zero);
            if (error >= least)
                continue;
            least = error;
            ret_steps[c] = step;
        }
        if (widest > 0)
            total += least * choice->energy[c];
    }
    return total;
}

/* What a dense reader's rounded weights cost, once they have taken the steps up. Depthwise ones pay nothing more. */
static double weights_error(const struct choice *choice, const struct qd_layer_statistics *l, const double *steps)
{
    double limit = (1 << (choice->form->weight_bits - 1)) - 1, total = 0;
    double n = l->n_samples ? l->n_samples : 1;

    for (int o = 0; o < l->layer.n; o++) {
        const float *w = l->layer.weights + (ptrdiff_t)o * l->k;
        int group = o / (l->layer.n / l->layer.group);
        double largest = 0, inputs = 0;

        for (int i = 0; i < l->k; i++) {
            double step = steps[channel_of(l, o, i)];

            largest = fmax(largest, fabs((double)w[i]) * step);
            inputs += (double)l->squares[(ptrdiff_t)group * l->k + i] / n / (step * step);
        }
        total += ROUNDING_GAIN * largest * largest / (limit * limit) / 12 * inputs;
    }
    return total;
}

static double total_error(const struct choice *choice, const double *steps, int zero)
{
    double total = 0;

    for (int c = 0; c < choice->c; c++)
        total += channel_error(choice, c, steps[c], zero) * choice->energy[c];
    for (const struct qd_layer_statistics *l = next_reader(choice, NULL); l; l = next_reader(choice, l))
        if (!is_depthwise(l))
            total += weights_error(choice, l, steps);
    return total;
}

static double largest_of(const double *x, int n)
{
    double largest = 0;

    for (int i = 0; i < n; i++)
        largest = fmax(largest, x[i]);
    return largest;
}

/* The zero point that serves all channels best, each with its own step: 0 where nothing is negative. */
static int choose_zero(const struct choice *choice, int now, double *alone, double *scratch)
{
    static const int shares[] = {2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128}; /* of 256 levels */
    double least = INFINITY, error;
    int best = 0;
    bool negative = false;

    for (int c = 0; c < choice->c; c++)
        negative = negative || choice->channels[c].min < 0;
    if (!negative) {
        choose_alone(choice, 0, alone);
        return 0;
    }
    if (choice->form->plain_zero) {
        choose_alone(choice, now, alone);
        return now;
    }
    for (size_t i = 0; i <= QD_ARRAY_SIZE(shares); i++) {
        int zero = i < QD_ARRAY_SIZE(shares) ? shares[i] * (choice->max + 1) / 256 : now;

        error = choose_alone(choice, zero, scratch);
        if (error >= least)
            continue;
        least = error;
        best = zero;
        memcpy(alone, scratch, (size_t)choice->c * sizeof(*alone));
    }
    return best;
}

/*
 * Between one step for all and each channel's own: steps to the power of a part, where dense readers pay for spread.
 * Returns the least error, with its steps in best.
 */
static double choose_spread(const struct choice *choice, const double *alone, int zero, bool dense, double *steps,
                            double *best)
{
    double largest = largest_of(alone, choice->c), least = INFINITY;

    for (int part = 4; part > 0; part -= dense ? 1 : 4) {
        for (int shift = dense && part < 4 ? -4 : 0; shift <= 0; shift++) {
            double error;

            for (int c = 0; c < choice->c; c++) {
                double ratio = alone[c] > 0 ? alone[c] / largest : 1;

                ratio = ratio > (double)LEAST_STEP ? ratio : (double)LEAST_STEP;
                steps[c] = largest * exp2(shift / 8.0) * pow(ratio, part / 4.0);
                if (choice->form->power_of_two)
                    steps[c] = exp2(rint(log2(steps[c])));
                steps[c] = fmax(steps[c], choice->finest);
            }
            error = total_error(choice, steps, zero);
            if (error >= least)
                continue;
            least = error;
            memcpy(best, steps, (size_t)choice->c * sizeof(*best));
        }
    }
    return least;
}

/*
 * A mean's or a product's multipliers are ratios of its tensors' steps, and no weights' scale makes them fit few bits:
 * channels then may be powers of two apart, as the tensors' own scales are.
 */
static bool joins_steps(const struct qd_graph *graph, int v)
{
    bool joins = !graph->nodes[graph->values[v].producer].op->layer;

    for (int n = 0; n < graph->n_nodes && !joins; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs; i++)
            joins = joins || (graph->nodes[n].inputs[i] == v && !graph->nodes[n].op->layer);
    return joins;
}

/* The form for the steps of one tensor. */
static struct qd_calibration_form form_of(const struct qd_graph *graph, int v, const struct qd_calibration_form *form)
{
    struct qd_calibration_form own = *form;

    own.power_of_two = form->power_of_two || (form->multiplier_bits < QD_NARROW_MULTIPLIER && joins_steps(graph, v));
    return own;
}

/* A power of two rarely meets a clip's upper bound, and one clamp for all channels cannot stand for several. */
static bool meets_bound(const struct choice *choice)
{
    const struct qd_graph *graph = choice->s->graph;
    const struct qd_activation *act = &graph->nodes[graph->values[choice->value].producer].act;

    return choice->form->power_of_two && act->kind == QD_ACT_CLIP && isfinite(act->max);
}

static enum qd_status prepare(struct choice *choice, struct qd_arena *arena, struct qd_error *err)
{
    enum qd_status status = QD_OK;
    size_t n = (size_t)choice->c;

    choice->bins = qd_arena_array(arena, n, sizeof(*choice->bins));
    choice->n_bins = qd_arena_array(arena, n, sizeof(*choice->n_bins));
    choice->energy = qd_arena_array(arena, n, sizeof(*choice->energy));
    if (!choice->bins || !choice->n_bins || !choice->energy)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    for (int c = 0; c < choice->c && status == QD_OK; c++)
        status = make_bins(&choice->channels[c], arena, &choice->bins[c], &choice->n_bins[c], err);
    for (const struct qd_layer_statistics *l = next_reader(choice, NULL); l; l = next_reader(choice, l))
        add_energy(l, choice->energy);
    /* Read by means and gates alone: all channels weigh the same. */
    for (int c = 0; c < choice->c && !next_reader(choice, NULL); c++)
        choice->energy[c] = 1;
    return status;
}

enum qd_status qd_channel_steps_choose(const struct qd_statistics *s, int v, bool dense_readers,
                                       const struct qd_calibration_form *form, struct qd_qparams now,
                                       struct qd_qparams *ret_q, float *ret_steps, bool *ret_found,
                                       struct qd_error *err)
{
    const struct qd_shape *shape = &s->graph->values[v].shape;
    struct qd_calibration_form own = form_of(s->graph, v, form);
    struct choice choice = {.s = s,
                            .channels = s->channels[v],
                            .c = (int)shape->dims[1],
                            .max = (1 << now.bits) - 1,
                            .pixels = (double)s->n_images * (double)(shape->dims[2] * shape->dims[3]),
                            .finest = qd_piecewise_finest(s->graph->nodes[s->graph->values[v].producer].act.kind),
                            .value = v,
                            .form = &own};
    struct qd_arena arena = {0};
    double *memory[4], one, error, largest;
    bool dense = false;
    int zero;
    enum qd_status status = QD_OK;

    *ret_found = false;
    for (const struct qd_layer_statistics *l = next_reader(&choice, NULL); l; l = next_reader(&choice, l))
        dense = dense || !is_depthwise(l);
    if (dense != dense_readers || meets_bound(&choice))
        return QD_OK;
    for (int i = 0; i < 4; i++) {
        memory[i] = qd_arena_array(&arena, (size_t)choice.c, sizeof(double));
        if (!memory[i])
            status = qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    }
    if (status == QD_OK)
        status = prepare(&choice, &arena, err);
    if (status == QD_OK) {
        double *alone = memory[0], *steps = memory[1], *best = memory[2];

        for (int c = 0; c < choice.c; c++)
            steps[c] = (double)now.scale;
        one = total_error(&choice, steps, now.zero_point);
        zero = choose_zero(&choice, now.zero_point, alone, memory[3]);
        largest = largest_of(alone, choice.c);
        error = largest > 0 ? choose_spread(&choice, alone, zero, dense, steps, best) : INFINITY;
        *ret_found = error < WORTH * one;
        largest = largest_of(best, choice.c);
        for (int c = 0; c < choice.c && *ret_found; c++)
            ret_steps[c] = (float)(best[c] / largest);
        *ret_q = (struct qd_qparams){(float)largest, zero, now.bits};
    }
    qd_arena_done(&arena);
    return status;
}
