#include "quant/channel_steps.h"

#include <math.h>
#include <string.h>

#include "op/piecewise.h"

#define N_STEPS 33          /* of 1/8 octave that are tried for a channel */
#define LEAST_STEP 0x1p-10f /* of the largest: keeps multipliers and their products in range */
#define ROUNDING_GAIN 0.25  /* of the error of rounding weights to nearest, what rounding for the output leaves */
#define WORTH 0.95          /* of the error with one step: else the steps are not used */

/* A channel of a tensor that shares its slot's step. */
struct member {
    const struct qd_channel_statistics *channel;
    struct qd_bin *bins;
    size_t n_bins;
    double pixels;
    double energy; /* squares of the readers' weights on it, summed; 0: it does not count */
};

struct slot {
    int first, n;  /* its members */
    double energy; /* of them all */
    double finest; /* step that it may have; 0: any */
};

struct choice {
    const struct qd_statistics *s;
    const struct qd_step_class *class;
    const struct qd_calibration_form *form;
    int max; /* the highest byte */
    struct slot *slots;
    struct member *members; /* slot by slot */
};

static const struct qd_layer_statistics *next_reader(const struct choice *choice, const struct qd_layer_statistics *l)
{
    const struct qd_statistics *s = choice->s;

    for (l = l ? l + 1 : s->layers; l < s->layers + s->n_layers; l++)
        if (qd_step_class_place(choice->class, s->graph->nodes[l->node].inputs[0]) >= 0)
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

/* The slots of the channels of what a layer reads, one of next_reader's. */
static const int *slots_of(const struct choice *choice, const struct qd_layer_statistics *l)
{
    int input = choice->s->graph->nodes[l->node].inputs[0];

    return choice->class->slots[qd_step_class_place(choice->class, input)];
}

/* By channel of a value: the squares of all layers' weights that read it. */
static void add_energy(const struct choice *choice, int value, double *energy)
{
    const struct qd_statistics *s = choice->s;

    for (const struct qd_layer_statistics *l = s->layers; l < s->layers + s->n_layers; l++) {
        if (s->graph->nodes[l->node].inputs[0] != value)
            continue;
        for (int o = 0; o < l->layer.n; o++)
            for (int i = 0; i < l->k; i++) {
                double w = (double)l->layer.weights[(ptrdiff_t)o * l->k + i];

                energy[channel_of(l, o, i)] += w * w;
            }
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

/* The mean squared error at the readers' outputs, of a slot at a step. */
static double slot_error(const struct choice *choice, int slot, double step, int zero)
{
    double total = 0;

    for (int i = choice->slots[slot].first; i < choice->slots[slot].first + choice->slots[slot].n; i++) {
        const struct member *m = &choice->members[i];

        if (m->energy > 0)
            total += m->energy * qd_bins_error(m->bins, m->n_bins, step, zero, choice->max) / m->pixels;
    }
    return total;
}

/* The step that loses nothing of a slot by clipping. */
static double widest_step(const struct choice *choice, int slot, int zero)
{
    double widest = 0;

    for (int i = choice->slots[slot].first; i < choice->slots[slot].first + choice->slots[slot].n; i++) {
        const struct qd_channel_statistics *channel = choice->members[i].channel;

        widest = fmax(widest, (double)channel->max / (choice->max > zero ? choice->max - zero : 1));
        widest = fmax(widest, zero ? -(double)channel->min / zero : 0);
    }
    return widest;
}

/* The best step of each slot by itself; returns the error at the readers' outputs. */
static double choose_alone(const struct choice *choice, int zero, double *ret_steps)
{
    double total = 0;

    for (int c = 0; c < choice->class->n_slots; c++) {
        double widest = widest_step(choice, c, zero), least = INFINITY;

        ret_steps[c] = 0;
        for (int i = 0; i < N_STEPS && widest > 0; i++) {
            double step = widest * exp2(-i / 8.0), error;

            if (choice->form->power_of_two && i % 8)
                continue;
            if (choice->form->power_of_two)
                step = exp2(ceil(log2(widest)) - i / 8);
            step = fmax(step, choice->slots[c].finest);
            error = slot_error(choice, c, step, zero);
            if (error >= least)
                continue;
            least = error;
            ret_steps[c] = step;
        }
        if (widest > 0)
            total += least;
    }
    return total;
}

/* What a dense reader's rounded weights cost, once they have taken the steps up. Depthwise ones pay nothing more. */
static double weights_error(const struct choice *choice, const struct qd_layer_statistics *l, const double *steps)
{
    double limit = (1 << (choice->form->weight_bits - 1)) - 1, total = 0;
    double n = l->n_samples ? l->n_samples : 1;
    const int *slots = slots_of(choice, l);

    for (int o = 0; o < l->layer.n; o++) {
        const float *w = l->layer.weights + (ptrdiff_t)o * l->k;
        int group = o / (l->layer.n / l->layer.group);
        double largest = 0, inputs = 0;

        for (int i = 0; i < l->k; i++) {
            double step = steps[slots[channel_of(l, o, i)]];

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

    for (int c = 0; c < choice->class->n_slots; c++)
        total += slot_error(choice, c, steps[c], zero);
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

/* The zero point that serves all slots best, each with its own step: 0 where nothing is negative. */
static int choose_zero(const struct choice *choice, int now, double *alone, double *scratch)
{
    static const int shares[] = {2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128}; /* of 256 levels */
    double least = INFINITY, error;
    int best = 0;
    bool negative = false;

    for (int c = 0; c < choice->class->n_slots; c++)
        for (int i = 0; i < choice->slots[c].n; i++)
            negative = negative || choice->members[choice->slots[c].first + i].channel->min < 0;
    if (!negative) {
        choose_alone(choice, 0, alone);
        return 0;
    }
    if (choice->form->plain_zero) {
        choose_alone(choice, (choice->max + 1) / 2, alone);
        return (choice->max + 1) / 2;
    }
    for (size_t i = 0; i <= QD_ARRAY_SIZE(shares); i++) {
        int zero = i < QD_ARRAY_SIZE(shares) ? shares[i] * (choice->max + 1) / 256 : now;

        error = choose_alone(choice, zero, scratch);
        if (error >= least)
            continue;
        least = error;
        best = zero;
        memcpy(alone, scratch, (size_t)choice->class->n_slots * sizeof(*alone));
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
    double largest = largest_of(alone, choice->class->n_slots), least = INFINITY;

    for (int part = 4; part > 0; part -= dense ? 1 : 4) {
        for (int shift = dense && part < 4 ? -4 : 0; shift <= 0; shift++) {
            double error;

            for (int c = 0; c < choice->class->n_slots; c++) {
                double ratio = alone[c] > 0 ? alone[c] / largest : 1;

                ratio = ratio > (double)LEAST_STEP ? ratio : (double)LEAST_STEP;
                steps[c] = largest * exp2(shift / 8.0) * pow(ratio, part / 4.0);
                if (choice->form->power_of_two)
                    steps[c] = exp2(rint(log2(steps[c])));
                steps[c] = fmax(steps[c], choice->slots[c].finest);
            }
            error = total_error(choice, steps, zero);
            if (error >= least)
                continue;
            least = error;
            memcpy(best, steps, (size_t)choice->class->n_slots * sizeof(*best));
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

/* The form for the steps of one class. */
static struct qd_calibration_form form_of(const struct qd_graph *graph, const struct qd_step_class *class,
                                          const struct qd_calibration_form *form)
{
    struct qd_calibration_form own = *form;

    for (int i = 0; i < class->n_values && form->multiplier_bits < QD_NARROW_MULTIPLIER; i++)
        own.power_of_two = own.power_of_two || joins_steps(graph, class->values[i]);
    return own;
}

/* A power of two rarely meets a clip's upper bound, and one clamp for all channels cannot stand for several. */
static bool meets_bound(const struct choice *choice)
{
    const struct qd_graph *graph = choice->s->graph;
    bool meets = false;

    for (int i = 0; i < choice->class->n_values; i++) {
        const struct qd_activation *act = &graph->nodes[graph->values[choice->class->values[i]].producer].act;

        meets = meets || (choice->form->power_of_two && act->kind == QD_ACT_CLIP && isfinite(act->max));
    }
    return meets;
}

/* The members of value number i of the class, behind those that its slots have already. */
static enum qd_status add_members(struct choice *choice, int i, struct qd_arena *arena, struct qd_error *err)
{
    int v = choice->class->values[i];
    const struct qd_value *value = &choice->s->graph->values[v];
    double finest = qd_piecewise_finest(choice->s->graph->nodes[value->producer].act.kind);
    double *energy = qd_arena_array(arena, (size_t)value->shape.dims[1], sizeof(*energy));
    enum qd_status status = energy ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");

    if (status == QD_OK)
        add_energy(choice, v, energy);
    for (int c = 0; c < value->shape.dims[1] && status == QD_OK; c++) {
        struct slot *slot = &choice->slots[choice->class->slots[i][c]];
        struct member *m = &choice->members[slot->first + slot->n++];

        m->channel = &choice->s->channels[v][c];
        m->pixels = (double)choice->s->n_images * (double)(value->shape.dims[2] * value->shape.dims[3]);
        m->energy = energy[c];
        slot->energy += energy[c];
        slot->finest = fmax(slot->finest, finest);
        status = make_bins(m->channel, arena, &m->bins, &m->n_bins, err);
    }
    return status;
}

static enum qd_status prepare(struct choice *choice, struct qd_arena *arena, struct qd_error *err)
{
    const struct qd_step_class *class = choice->class;
    size_t n_members = 0;
    double mean = 0;
    enum qd_status status = QD_OK;

    choice->slots = qd_arena_array(arena, (size_t) class->n_slots, sizeof(*choice->slots));
    for (int i = 0; i < class->n_values; i++)
        n_members += (size_t)choice->s->graph->values[class->values[i]].shape.dims[1];
    choice->members = qd_arena_array(arena, n_members, sizeof(*choice->members));
    if (!choice->slots || !choice->members)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    for (int i = 0; i < class->n_values; i++)
        for (int c = 0; c < choice->s->graph->values[class->values[i]].shape.dims[1]; c++)
            choice->slots[class->slots[i][c]].n++;
    for (int c = 0, at = 0; c < class->n_slots; c++) {
        choice->slots[c].first = at;
        at += choice->slots[c].n;
        choice->slots[c].n = 0;
    }
    for (int i = 0; i < class->n_values && status == QD_OK; i++)
        status = add_members(choice, i, arena, err);
    for (int c = 0; c < class->n_slots; c++)
        mean += choice->slots[c].energy / class->n_slots;
    /* Read by means and gates alone, or by what has one step for all: such slots weigh as the others do. */
    for (int c = 0; c < class->n_slots; c++)
        for (int i = 0; i < choice->slots[c].n && !(choice->slots[c].energy > 0); i++)
            choice->members[choice->slots[c].first + i].energy = mean > 0 ? mean : 1;
    return status;
}

/* The coarsest scale that the class has now. */
static struct qd_qparams present_scale(const struct choice *choice)
{
    const struct qd_value *values = choice->s->graph->values;
    struct qd_qparams now = values[choice->class->values[0]].q;

    for (int i = 1; i < choice->class->n_values; i++)
        if (values[choice->class->values[i]].q.scale > now.scale)
            now = values[choice->class->values[i]].q;
    return now;
}

/* The slots' steps as each value's scale and steps; none where all its channels have one. */
static enum qd_status give_steps(const struct choice *choice, const double *steps, int zero, struct qd_arena *arena,
                                 struct qd_class_steps *ret, struct qd_error *err)
{
    for (int i = 0; i < choice->class->n_values; i++) {
        int n = (int)choice->s->graph->values[choice->class->values[i]].shape.dims[1];
        const int *slots = choice->class->slots[i];
        double largest = 0, least = INFINITY;

        for (int c = 0; c < n; c++) {
            largest = fmax(largest, steps[slots[c]]);
            least = fmin(least, steps[slots[c]]);
        }
        ret->q[i] =
            (struct qd_qparams){(float)largest, zero, choice->s->graph->values[choice->class->values[i]].q.bits};
        ret->steps[i] = least < largest ? qd_arena_array(arena, (size_t)n, sizeof(float)) : NULL;
        if (least < largest && !ret->steps[i])
            return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
        for (int c = 0; c < n && ret->steps[i]; c++)
            ret->steps[i][c] = (float)(steps[slots[c]] / largest);
    }
    return QD_OK;
}

/* The best steps of all slots, where they are better than one for all. */
static enum qd_status choose(const struct choice *choice, bool dense, struct qd_arena *scratch, struct qd_arena *arena,
                             struct qd_class_steps *ret, struct qd_error *err)
{
    struct qd_qparams now = present_scale(choice);
    double *memory[4], *alone, *steps, *best, one;
    int zero;

    for (int i = 0; i < 4; i++) {
        memory[i] = qd_arena_array(scratch, (size_t)choice->class->n_slots, sizeof(double));
        if (!memory[i])
            return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    }
    alone = memory[0];
    steps = memory[1];
    best = memory[2];
    for (int c = 0; c < choice->class->n_slots; c++)
        steps[c] = (double)now.scale;
    one = total_error(choice, steps, now.zero_point);
    zero = choose_zero(choice, now.zero_point, alone, memory[3]);
    ret->found = largest_of(alone, choice->class->n_slots) > 0 &&
                 choose_spread(choice, alone, zero, dense, steps, best) < WORTH * one;
    return ret->found ? give_steps(choice, best, zero, arena, ret, err) : QD_OK;
}

enum qd_status qd_channel_steps_choose(const struct qd_statistics *s, const struct qd_step_class *class,
                                       bool dense_readers, const struct qd_calibration_form *form,
                                       struct qd_arena *arena, struct qd_class_steps *ret, struct qd_error *err)
{
    struct qd_calibration_form own = form_of(s->graph, class, form);
    struct choice choice = {.s = s, .class = class, .form = &own};
    struct qd_arena scratch = {0};
    bool dense = false;
    enum qd_status status = QD_OK;

    choice.max = (1 << s->graph->values[class->values[0]].q.bits) - 1;
    ret->found = false;
    for (const struct qd_layer_statistics *l = next_reader(&choice, NULL); l; l = next_reader(&choice, l))
        dense = dense || !is_depthwise(l);
    if (dense != dense_readers || meets_bound(&choice))
        return QD_OK;
    ret->q = qd_arena_array(arena, (size_t) class->n_values, sizeof(*ret->q));
    ret->steps = qd_arena_array(arena, (size_t) class->n_values, sizeof(*ret->steps));
    if (!ret->q || !ret->steps)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    if (status == QD_OK)
        status = prepare(&choice, &scratch, err);
    if (status == QD_OK)
        status = choose(&choice, dense, &scratch, arena, ret, err);
    qd_arena_done(&scratch);
    return status;
}
