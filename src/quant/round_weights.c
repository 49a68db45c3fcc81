#include "quant/round_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op/q8.h"
#include "quant/linear.h"

#define N_CLIPS 21       /* ratios 1.00, 0.98 .. 0.60 */
#define LEAST_LATTICE 48 /* the coarsest lattice that is tried has so many levels a side */
#define DAMPING 0.01     /* of the mean of H's diagonal, as GPTQ has it, when there are samples enough */

/* A weight's place in the factor is its rank by what it matters. */
struct rank {
    float diagonal;
    int weight;
};

struct group {
    struct qd_rounding *r;
    int k, limit;
    float *h;           /* [k][k] full, in the units of the input's own steps; NULL: diagonal alone */
    float *diagonal;    /* [k] of it */
    float *factor;      /* [k][k] of the permuted h, dense layers; NULL */
    struct rank *order; /* [k], by position in the factor */
    float *w, *permuted, *work;
    int8_t *q;
    double signal, noise;
};

static int channel_of(const struct qd_layer_statistics *l, int group, int i)
{
    int c_group = l->layer.c / l->layer.group;

    return group * c_group + i / (l->k / c_group);
}

static float step_of(const struct qd_rounding *r, int group, int i)
{
    return r->input_steps ? r->input_steps[channel_of(r->layer, group, i)] : 1;
}

/*
 * H and its diagonal, in bytes' own units. The input's rounding adds its variance to the diagonal; the damping grows
 * where the samples are too few to know K^2 numbers.
 */
static void fill_moments(struct group *g, int group)
{
    const struct qd_layer_statistics *l = g->r->layer;
    const float *squares = l->squares + (ptrdiff_t)group * g->k;
    const float *moments = g->h ? l->moments + (ptrdiff_t)group * g->k * g->k : NULL;
    double n = l->n_samples ? l->n_samples : 1, mean = 0,
           noise = g->r->exact_input ? 0 : g->r->input_scale * g->r->input_scale / 12;
    double damping = DAMPING + (l->grouped ? 0 : 0.25 * g->k / n);

    for (int i = 0; i < g->k; i++) {
        double s = (double)step_of(g->r, group, i);

        g->diagonal[i] = (float)((double)squares[i] / n / (s * s) + noise);
        mean += (double)g->diagonal[i] / g->k;
    }
    mean = mean > 0 ? mean : 1;
    for (int i = 0; i < g->k && g->h; i++) {
        for (int j = 0; j < i; j++) {
            float h = (float)((double)moments[(ptrdiff_t)i * g->k + j] / n /
                              ((double)step_of(g->r, group, i) * (double)step_of(g->r, group, j)));

            g->h[(ptrdiff_t)i * g->k + j] = g->h[(ptrdiff_t)j * g->k + i] = h;
        }
        g->h[(ptrdiff_t)i * g->k + i] = g->diagonal[i] + (float)(damping * mean);
    }
    for (int i = 0; i < g->k; i++)
        g->diagonal[i] += (float)(damping * mean);
}

static int by_diagonal(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;

    if (x->diagonal != y->diagonal)
        return x->diagonal < y->diagonal ? -1 : 1;
    return (x->weight > y->weight) - (x->weight < y->weight);
}

/* The factor, whose last rows are the inputs that matter most: they are rounded first. */
static bool make_factor(struct group *g)
{
    for (int i = 0; i < g->k; i++)
        g->order[i] = (struct rank){g->diagonal[i], i};
    qsort(g->order, (size_t)g->k, sizeof(*g->order), by_diagonal);
    for (int i = 0; i < g->k; i++)
        for (int j = 0; j <= i; j++)
            g->factor[(ptrdiff_t)i * g->k + j] = g->h[(ptrdiff_t)g->order[i].weight * g->k + g->order[j].weight];
    return qd_cholesky(g->factor, g->k);
}

static float rounded(float w, float scale, int limit)
{
    float q = rintf(w / scale);

    return q < (float)-limit ? (float)-limit : q > (float)limit ? (float)limit : q;
}

static double diagonal_error(const struct group *g, float scale)
{
    double error = 0;

    for (int i = 0; i < g->k; i++) {
        float e = g->w[i] - rounded(g->w[i], scale, g->limit) * scale;

        error += (double)(e * e * g->diagonal[i]);
    }
    return error;
}

static double descent_error(const struct group *g, float scale, int8_t *q)
{
    for (int i = 0; i < g->k; i++)
        q[i] = (int8_t)rounded(g->w[i], scale, g->limit);
    return qd_round_descent(g->h, g->w, g->k, scale, g->limit, q);
}

static bool scale_is_free(const struct qd_rounding *r)
{
    return !r->power_of_two && (!r->output_units || r->multiplier_bits >= 24);
}

/* Candidate i of the scales of a row whose largest weight is given; 0 past the last. */
static float free_candidate(const struct group *g, float largest, int i)
{
    int lattice = g->limit - 1 - (i - N_CLIPS);

    if (i < N_CLIPS)
        return largest / (float)g->limit * (1 - 0.02f * (float)i);
    return lattice >= LEAST_LATTICE ? largest / (float)lattice : 0;
}

/* The same as the form allows it. */
static float candidate(const struct group *g, float largest, int o, int i)
{
    const struct qd_rounding *r = g->r;
    float scale = free_candidate(g, largest, i);
    double unit;

    if (!(scale > 0) || scale_is_free(r))
        return scale;
    /* The unit is a power of two where all scales are, but for a HardSigmoid: its slope is a part of the weights. */
    unit = r->output_units ? r->output_units[o] / r->input_scale : 1;
    if (r->power_of_two)
        return (float)(exp2(rint(log2((double)scale / unit))) * unit);
    return (float)((double)qd_q8_round_multiplier((double)scale / unit, r->multiplier_bits) * unit);
}

/* Chooses scale and q of the row in g->w. */
static void round_row(struct group *g, int o, float *ret_scale, int8_t *ret_q)
{
    bool descent = g->h && !g->factor;
    float largest = 0, scale, best_scale;
    double best = INFINITY;

    for (int i = 0; i < g->k; i++)
        largest = fmaxf(largest, fabsf(g->w[i]));
    if (!(largest > 0x1p-100f)) {
        memset(ret_q, 0, (size_t)g->k);
        *ret_scale = 1;
        return;
    }
    best_scale = largest / (float)g->limit;
    for (int i = 0; (scale = candidate(g, largest, o, i)) > 0; i++) {
        if (i > 0 && g->r->nearest && scale_is_free(g->r))
            break;
        double error = descent ? descent_error(g, scale, g->q) : diagonal_error(g, scale);

        if (!(error < best))
            continue;
        best = error;
        best_scale = scale;
        if (descent)
            memcpy(ret_q, g->q, (size_t)g->k);
    }
    *ret_scale = best_scale;
    if (descent)
        return;
    for (int i = 0; i < g->k && !g->factor; i++)
        ret_q[i] = (int8_t)rounded(g->w[i], best_scale, g->limit);
    if (!g->factor)
        return;
    for (int i = 0; i < g->k; i++)
        g->permuted[i] = g->w[g->order[i].weight];
    qd_round_row(g->factor, g->permuted, g->k, best_scale, g->limit, g->q, g->work);
    for (int i = 0; i < g->k; i++)
        ret_q[g->order[i].weight] = g->q[i];
}

/* The row's share of the output's signal and noise, with the full H where there is one. */
static void add_noise(struct group *g, float scale, const int8_t *q)
{
    for (int i = 0; i < g->k; i++)
        g->permuted[i] = g->w[i] - (float)q[i] * scale;
    for (int i = 0; i < g->k; i++) {
        const float *row = g->h ? g->h + (ptrdiff_t)i * g->k : NULL;
        float signal = 0, noise = 0;

        for (int j = 0; j < g->k && row; j++) {
            signal += row[j] * g->w[j];
            noise += row[j] * g->permuted[j];
        }
        if (!row) {
            signal = g->diagonal[i] * g->w[i];
            noise = g->diagonal[i] * g->permuted[i];
        }
        g->signal += (double)(signal * g->w[i]);
        g->noise += (double)(noise * g->permuted[i]);
    }
}

static void round_group(struct group *g, int group)
{
    struct qd_rounding *r = g->r;
    int n_group = r->layer->layer.n / r->layer->layer.group;

    fill_moments(g, group);
    if (g->factor && !make_factor(g)) {
        /* Cannot be with the damping, but for overflow: the diagonal still serves. */
        g->factor = NULL;
        g->h = NULL;
    }
    for (int o = group * n_group; o < (group + 1) * n_group; o++) {
        const float *w = r->layer->layer.weights + (ptrdiff_t)o * g->k;

        for (int i = 0; i < g->k; i++)
            g->w[i] = w[i] * step_of(r, group, i);
        round_row(g, o, &r->scale[o], r->q + (ptrdiff_t)o * g->k);
        add_noise(g, r->scale[o], r->q + (ptrdiff_t)o * g->k);
    }
}

enum qd_status qd_round_weights(struct qd_rounding *r, struct qd_error *err)
{
    struct qd_arena scratch = {0};
    size_t k = (size_t)r->layer->k;
    struct group g = {.r = r, .k = r->layer->k, .limit = (1 << (r->bits - 1)) - 1};
    bool full = r->layer->moments != NULL && !r->nearest, dense = full && g.k > QD_MAX_DESCENT;

    dense = dense || (full && !r->layer->grouped && g.k > 9);
    g.h = full ? qd_arena_array(&scratch, k * k, sizeof(float)) : NULL;
    g.factor = dense ? qd_arena_array(&scratch, k * k, sizeof(float)) : NULL;
    g.diagonal = qd_arena_array(&scratch, k, sizeof(float));
    g.order = qd_arena_array(&scratch, k, sizeof(*g.order));
    g.w = qd_arena_array(&scratch, k, sizeof(float));
    g.permuted = qd_arena_array(&scratch, k, sizeof(float));
    g.work = qd_arena_array(&scratch, k, sizeof(float));
    g.q = qd_arena_array(&scratch, k, 1);
    if ((full && !g.h) || (dense && !g.factor) || !g.diagonal || !g.order || !g.w || !g.permuted || !g.work || !g.q) {
        qd_arena_done(&scratch);
        return qd_error_set(err, QD_NO_MEMORY, "no memory to round weights");
    }
    for (int group = 0; group < r->layer->layer.group; group++)
        round_group(&g, group);
    r->sqnr_db = full && g.noise > 0 && g.signal > 0 ? 10 * log10(g.signal / g.noise) : (double)NAN;
    qd_arena_done(&scratch);
    return QD_OK;
}
