#include "op/q8.h"

#include <math.h>

#include "op/piecewise.h"

struct qd_qparams qd_q8_of(const struct qd_graph *graph, int value)
{
    struct qd_qparams pixels = {.scale = 1, .zero_point = 0, .bits = 8};

    return value == graph->pixels ? pixels : graph->values[value].q;
}

struct qd_qparams qd_q8_channel(const struct qd_graph *graph, int value, int c)
{
    struct qd_qparams q = qd_q8_of(graph, value);

    q.scale *= graph->values[value].channel_steps ? graph->values[value].channel_steps[c] : 1;
    return q;
}

struct qd_qparams qd_q8_input(const struct qd_q8_prepare *prepare, int input)
{
    return qd_q8_of(prepare->graph, prepare->node->inputs[input]);
}

struct qd_qparams qd_q8_output(const struct qd_q8_prepare *prepare)
{
    return qd_q8_of(prepare->graph, prepare->node->outputs[0]);
}

int qd_q8_max(struct qd_qparams q)
{
    return (1 << q.bits) - 1;
}

uint8_t qd_q8_byte(float real, struct qd_qparams q)
{
    float steps = rintf(real / q.scale) + (float)q.zero_point;

    return (uint8_t)fminf(fmaxf(steps, 0), (float)qd_q8_max(q));
}

static bool rounds_multipliers(const struct qd_graph *graph)
{
    return graph->multiplier_bits > 0 && graph->multiplier_bits < 24;
}

float qd_q8_round_multiplier(double multiplier, int bits)
{
    int exponent;
    double fraction = frexp(multiplier, &exponent);

    return (float)ldexp(rint(ldexp(fraction, bits)), exponent - bits);
}

float qd_q8_multiplier(const struct qd_graph *graph, double multiplier)
{
    return rounds_multipliers(graph) ? qd_q8_round_multiplier(multiplier, graph->multiplier_bits) : (float)multiplier;
}

/* The bounds that a clamp of bytes stands for; false: the activation has none. */
static bool bounds_of(const struct qd_activation *act, float *ret_min, float *ret_max)
{
    bool clips = act->kind == QD_ACT_CLIP;

    *ret_min = clips ? act->min : 0;
    *ret_max = clips ? act->max : 1;
    return clips || act->kind == QD_ACT_HARDSIGMOID;
}

void qd_q8_clamp(const struct qd_activation *act, struct qd_qparams q, uint8_t *ret_min, uint8_t *ret_max)
{
    float min, max;

    *ret_min = 0;
    *ret_max = (uint8_t)qd_q8_max(q);
    if (bounds_of(act, &min, &max)) {
        *ret_min = qd_q8_byte(min, q);
        *ret_max = qd_q8_byte(max, q);
    }
}

/* The output's step per channel in its own scale, or NULL. */
static const float *output_steps(const struct qd_q8_prepare *prepare)
{
    return prepare->output_f32 ? NULL : prepare->graph->values[prepare->node->outputs[0]].channel_steps;
}

/* One clamp serves all channels: where their steps differ, their rounding alone has to do what the clip does. */
static enum qd_status set_clamp(const struct qd_q8_prepare *prepare, int n, struct qd_requant *ret,
                                struct qd_error *err)
{
    const float *steps = output_steps(prepare);
    struct qd_qparams q = qd_q8_output(prepare);
    float min, max;

    qd_q8_clamp(&prepare->node->act, q, &ret->clamp_min, &ret->clamp_max);
    if (!steps || !bounds_of(&prepare->node->act, &min, &max))
        return QD_OK;
    for (int c = 0; c < n; c++) {
        double step = (double)q.scale * (double)steps[c];

        if (-q.zero_point * step < (double)min - step / 2 ||
            (qd_q8_max(q) - q.zero_point) * step > (double)max + step / 2)
            return qd_error_set(err, QD_UNSUPPORTED, "channel %d: its bytes pass the bounds of the clip", c);
    }
    ret->clamp_min = 0;
    ret->clamp_max = (uint8_t)qd_q8_max(q);
    return QD_OK;
}

static enum qd_status set_slopes(struct qd_q8_prepare *prepare, double step, int n, struct qd_requant *ret,
                                 struct qd_error *err)
{
    const struct qd_activation *act = &prepare->node->act;
    const float *steps = output_steps(prepare);
    float *slope = qd_arena_array(prepare->arena, (size_t)n + 16, sizeof(float));

    if (!slope)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for an activation");
    for (int c = 0; c < n; c++)
        slope[c] = act->kind == QD_ACT_LEAKY ? act->alpha : (float)(step * (steps ? (double)steps[c] : 1) / 6);
    ret->act = act->kind == QD_ACT_LEAKY ? QD_REQUANT_LEAKY : QD_REQUANT_HARDSWISH;
    ret->slope = slope;
    return QD_OK;
}

/* The finest of the channels' steps, in the tensor's: what a curve in steps is fitted to, where they differ. */
static double finest_step(const float *steps, int n)
{
    double least = 1;

    for (int c = 0; c < n; c++)
        least = fmin(least, (double)steps[c]);
    return least;
}

/* Cubics in the finest channel's steps, over what the coarsest has bytes for; a slope takes each channel to its own. */
static enum qd_status set_piecewise_steps(struct qd_q8_prepare *prepare, double step, double zero, int n,
                                          struct qd_requant *ret, struct qd_piecewise *piecewise, struct qd_error *err)
{
    const float *steps = output_steps(prepare);
    float *slope = qd_arena_array(prepare->arena, (size_t)n + 16, sizeof(float));
    double finest = finest_step(steps, n), coarsest = 0;

    if (!slope)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for an activation");
    for (int c = 0; c < n; c++) {
        slope[c] = (float)(finest / (double)steps[c]);
        coarsest = fmax(coarsest, (double)steps[c] / finest);
    }
    ret->act = QD_REQUANT_PIECEWISE_STEPS;
    ret->zero = (float)zero;
    ret->slope = slope;
    return qd_piecewise_fit(&prepare->node->act, step * finest, 0, (ret->clamp_min - zero) * coarsest,
                            (ret->clamp_max - zero) * coarsest, QD_PIECEWISE_STEPS_ERROR, piecewise, err);
}

/* The activation's part of *ret, whose clamp and mult are set. step: of the output; zero: its zero point. */
static enum qd_status set_activation(struct qd_q8_prepare *prepare, double step, double zero, int n,
                                     struct qd_requant *ret, struct qd_error *err)
{
    const struct qd_activation *act = &prepare->node->act;
    struct qd_piecewise *piecewise;

    ret->act = QD_REQUANT_LINEAR;
    ret->slope = ret->mult;
    if (act->kind == QD_ACT_LEAKY || act->kind == QD_ACT_HARDSWISH) {
        ret->zero = (float)zero;
        return set_slopes(prepare, step, n, ret, err);
    }
    if (!qd_piecewise_fits(act->kind))
        return QD_OK;
    ret->piecewise = piecewise = qd_arena_alloc(prepare->arena, sizeof(*piecewise));
    if (!piecewise)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for an activation");
    if (output_steps(prepare))
        return set_piecewise_steps(prepare, step, zero, n, ret, piecewise, err);
    ret->act = QD_REQUANT_PIECEWISE;
    return qd_piecewise_fit(act, step, zero, ret->clamp_min, ret->clamp_max, QD_PIECEWISE_MAX_ERROR, piecewise, err);
}

/* Their sum fits into 32 bits whatever they are. */
#define SUM_PIECE (1 << 20)

/* The largest |acc| of a row: all bytes 255 where weights are positive, or where they are negative. */
static double largest_sum(const int8_t *w, int k, double *ret_sum)
{
    int64_t sum = 0, magnitude = 0, positive, negative;

    /* In 32 bits piece by piece, so that it vectorises. */
    for (int done = 0; done < k; done += SUM_PIECE) {
        int end = k - done < SUM_PIECE ? k : done + SUM_PIECE, piece = 0, size = 0;

        for (int i = done; i < end; i++) {
            piece += w[i];
            size += w[i] < 0 ? -w[i] : w[i];
        }
        sum += piece;
        magnitude += size;
    }
    positive = (magnitude + sum) / 2;
    negative = (magnitude - sum) / 2;
    *ret_sum = (double)sum;
    return 255.0 * (double)(positive > negative ? positive : negative);
}

/* What the channels of one requantisation have in common, in steps of the output but for its steps per channel. */
struct requant_terms {
    double in_scale, in_zero, step, zero, gain, shift;
    float residual_mult;
    double residual_zero;
    bool output_f32;
};

static void set_terms(const struct qd_q8_prepare *prepare, struct requant_terms *ret)
{
    const struct qd_node *node = prepare->node;
    struct qd_qparams in = qd_q8_input(prepare, 0), out = qd_q8_output(prepare);

    *ret = (struct requant_terms){
        .in_scale = (double)in.scale,
        .in_zero = in.zero_point,
        .step = prepare->output_f32 ? 1 : (double)out.scale,
        .zero = prepare->output_f32 ? 0 : out.zero_point,
        .gain = 1,
        .output_f32 = prepare->output_f32,
    };
    /* A line is not quantized by itself: HardSigmoid's goes into the scales, its bounds are the clamp's. */
    if (node->act.kind == QD_ACT_HARDSIGMOID) {
        ret->gain = (double)node->act.alpha;
        ret->shift = (double)node->act.beta;
    }
    if (node->residual >= 0) {
        struct qd_qparams q = qd_q8_input(prepare, node->residual);

        ret->residual_mult = qd_q8_multiplier(prepare->graph, (double)q.scale / ret->step * ret->gain);
        ret->residual_zero = q.zero_point;
    }
}

/* Of a channel with the row w of weights; false: an accumulator could pass 2^30 output steps. */
static bool set_channel(const struct qd_graph *graph, const struct requant_terms *terms, const int8_t *w, int k,
                        double scale, double bias, double step, float *ret_mult, float *ret_offset)
{
    double sum, largest = largest_sum(w, k, &sum), exact = terms->in_scale * scale / step * terms->gain;
    double constant = (bias * terms->gain + terms->shift) / step, offset;
    float mult = terms->output_f32 ? (float)exact : qd_q8_multiplier(graph, exact);

    /* Hardware with narrow multipliers adds an integer to the accumulator. Without weights any multiplier is right. */
    if (rounds_multipliers(graph) && largest > 0 && exact != 0)
        constant = rint(constant / exact) * (double)mult;
    offset = constant - terms->in_zero * sum * (double)mult - terms->residual_zero * (double)terms->residual_mult +
             terms->zero;
    *ret_mult = mult;
    *ret_offset = (float)offset;
    return largest * fabs((double)mult) + fabs(offset) + 255 * (double)terms->residual_mult < 0x1p30;
}

enum qd_status qd_q8_requant(struct qd_q8_prepare *prepare, const int8_t *w, const float *scale, const float *bias,
                             int n, int k, struct qd_requant *ret, struct qd_error *err)
{
    const float *steps = output_steps(prepare);
    float *mult = qd_arena_array(prepare->arena, (size_t)n + 16, sizeof(float));
    float *offset = qd_arena_array(prepare->arena, (size_t)n + 16, sizeof(float));
    struct requant_terms terms;
    double finest;
    enum qd_status status;

    if (!mult || !offset)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    if (steps && prepare->node->residual >= 0)
        return qd_error_set(err, QD_UNSUPPORTED, "a residual with a step per channel");
    *ret = (struct qd_requant){.mult = mult, .offset = offset};
    set_terms(prepare, &terms);
    status = set_clamp(prepare, n, ret, err);
    if (status == QD_OK)
        status = set_activation(prepare, terms.step, terms.zero, n, ret, err);
    if (status != QD_OK)
        return status;
    terms.zero = ret->act == QD_REQUANT_LINEAR ? terms.zero : 0;
    finest = ret->act == QD_REQUANT_PIECEWISE_STEPS ? finest_step(steps, n) : 0;
    for (int c = 0; c < n; c++) {
        double step = finest > 0 ? finest : steps ? (double)steps[c] : 1;

        if (!set_channel(prepare->graph, &terms, w + (size_t)c * (size_t)k, k, (double)scale[c],
                         bias ? (double)bias[c] : 0, terms.step * step, &mult[c], &offset[c]) &&
            !prepare->output_f32)
            return qd_error_set(err, QD_UNSUPPORTED, "channel %d: its values pass 2^30 output steps", c);
    }
    ret->residual_mult = terms.residual_mult;
    return QD_OK;
}

void qd_q8_pixels_prepare(const struct qd_q8_prepare *prepare, int first_input, int n_inputs, struct qd_q8_pixels *ret)
{
    const struct qd_value *value = &prepare->graph->values[prepare->node->outputs[0]];
    const struct qd_steps *all[QD_Q8_MAX_INPUTS + 1] = {&prepare->out_steps[0]};

    ret->c = qd_value_is_picture(value) ? value->shape.dims[1] : 1;
    ret->n = ret->c ? qd_shape_count(&value->shape) / ret->c : 0;
    ret->w = qd_value_is_picture(value) ? value->shape.dims[3] : ret->n;
    ret->n_inputs = n_inputs;
    ret->out = prepare->out_steps[0];
    ret->span = ret->n;
    for (int i = 0; i < n_inputs; i++) {
        ret->in[i] = prepare->in_steps[first_input + i];
        all[i + 1] = &ret->in[i];
    }
    for (int i = 0; i <= n_inputs; i++) {
        if (all[i]->x != ret->c)
            ret->span = 1;
        else if (all[i]->y != ret->w * ret->c && ret->span > ret->w)
            ret->span = ret->w;
    }
}

static ptrdiff_t pixel_at(const struct qd_q8_pixels *pixels, const struct qd_steps *steps, int64_t pixel)
{
    return pixel / pixels->w * steps->y + pixel % pixels->w * steps->x;
}

void qd_q8_pixels_run(const struct qd_q8_pixels *pixels, const struct qd_q8_run *run, int thread, int n_threads,
                      void (*call)(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n),
                      const void *context)
{
    int64_t begin, end;

    qd_share(pixels->n * run->n_images, thread, n_threads, &begin, &end);
    while (begin < end) {
        int64_t image = begin / pixels->n, first = begin % pixels->n, n = pixels->span - first % pixels->span;
        const uint8_t *in[QD_Q8_MAX_INPUTS] = {NULL};
        uint8_t *out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0];

        n = n < end - begin ? n : end - begin;
        for (int i = 0; i < pixels->n_inputs; i++)
            in[i] = run->inputs[i] + (size_t)image * run->input_pitch[i] + pixel_at(pixels, &pixels->in[i], first);
        call(context, (int)image, in, out + pixel_at(pixels, &pixels->out, first), n);
        begin += n;
    }
}

struct table_q8 {
    const struct qd_kernels *kernels;
    struct qd_q8_pixels pixels;
    int input;
    uint8_t table[256];
};

enum qd_status qd_q8_table_of(struct qd_q8_prepare *prepare, int input, const float y[256], struct qd_error *err)
{
    struct table_q8 *table = qd_arena_alloc(prepare->arena, sizeof(*table));

    if (!table)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a table");
    for (int b = 0; b < 256; b++)
        table->table[b] = qd_q8_byte(y[b], qd_q8_output(prepare));
    table->kernels = prepare->kernels;
    table->input = input;
    qd_q8_pixels_prepare(prepare, input, 1, &table->pixels);
    prepare->prepared = table;
    return QD_OK;
}

enum qd_status qd_q8_table_prepare(struct qd_q8_prepare *prepare, float (*f)(const void *context, float x),
                                   const void *context, struct qd_error *err)
{
    struct qd_qparams in = qd_q8_input(prepare, 0);
    float y[256];

    for (int b = 0; b < 256; b++)
        y[b] = f(context, (float)(b - in.zero_point) * in.scale);
    return qd_q8_table_of(prepare, 0, y, err);
}

static void table_pixels(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n)
{
    const struct table_q8 *table = context;

    (void)image;
    table->kernels->lookup(in[0], out, (size_t)(n * table->pixels.c), table->table);
}

void qd_q8_table_run(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct table_q8 *table = run->prepared;
    struct qd_q8_run own = *run;

    own.inputs += table->input;
    own.input_pitch += table->input;
    qd_q8_pixels_run(&table->pixels, &own, thread, n_threads, table_pixels, table);
}

struct lines_q8 {
    const struct qd_kernels *kernels;
    struct qd_q8_pixels pixels;
    struct qd_affine_params params;
};

/* Few channels fill no vector: where pixels follow each other, so many at a time are one of more channels. */
#define GROUPED_PIXELS 16

static void group_pixels(struct lines_q8 *lines, float *mult, float *offset)
{
    struct qd_q8_pixels *pixels = &lines->pixels;
    int c = lines->params.c;

    if (pixels->span == pixels->n)
        pixels->w = pixels->n;
    if (c >= GROUPED_PIXELS || pixels->w % GROUPED_PIXELS || pixels->span % GROUPED_PIXELS)
        return;
    for (int i = c; i < c * GROUPED_PIXELS; i++) {
        mult[i] = mult[i - c];
        offset[i] = offset[i - c];
    }
    lines->params.c = c * GROUPED_PIXELS;
    pixels->c *= GROUPED_PIXELS;
    pixels->n /= GROUPED_PIXELS;
    pixels->w /= GROUPED_PIXELS;
    pixels->span /= GROUPED_PIXELS;
    pixels->in[0].x *= GROUPED_PIXELS;
    pixels->out.x *= GROUPED_PIXELS;
}

enum qd_status qd_q8_lines_prepare(struct qd_q8_prepare *prepare,
                                   void (*line)(const void *context, int c, double *ret_mult, double *ret_add),
                                   const void *context, struct qd_error *err)
{
    struct qd_qparams in = qd_q8_input(prepare, 0), out = qd_q8_output(prepare);
    int c = (int)qd_value_channels(&prepare->graph->values[prepare->node->outputs[0]]);
    struct lines_q8 *lines = qd_arena_alloc(prepare->arena, sizeof(*lines));
    size_t room = (size_t)(c < GROUPED_PIXELS ? c * GROUPED_PIXELS : c) + 16;
    float *mult = qd_arena_array(prepare->arena, room, sizeof(float));
    float *offset = qd_arena_array(prepare->arena, room, sizeof(float));

    if (!lines || !mult || !offset)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    for (int i = 0; i < c; i++) {
        double m, o;

        line(context, i, &m, &o);
        m = (double)qd_q8_multiplier(prepare->graph, m * (double)in.scale / (double)out.scale);
        o = o / (double)out.scale + out.zero_point - in.zero_point * m;
        if (!(255 * fabs(m) + fabs(o) < 0x1p30))
            return qd_error_set(err, QD_UNSUPPORTED, "channel %d: its values pass 2^30 output steps", i);
        mult[i] = (float)m;
        offset[i] = (float)o;
    }
    lines->kernels = prepare->kernels;
    lines->params = (struct qd_affine_params){.c = c, .mult = mult, .offset = offset};
    qd_q8_pixels_prepare(prepare, 0, 1, &lines->pixels);
    if (lines->pixels.c != c) { /* no picture: its pixels are the rows of c elements */
        lines->pixels.n /= c;
        lines->pixels.span = lines->pixels.w = lines->pixels.n;
        lines->pixels.c = c;
        lines->pixels.in[0].x = lines->pixels.out.x = c;
    }
    group_pixels(lines, mult, offset);
    qd_q8_clamp(&prepare->node->act, out, &lines->params.clamp_min, &lines->params.clamp_max);
    prepare->prepared = lines;
    return QD_OK;
}

static void lines_pixels(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n)
{
    const struct lines_q8 *lines = context;
    struct qd_affine_params params = lines->params;

    (void)image;
    params.in = in[0];
    params.out = out;
    params.m = (size_t)n;
    lines->kernels->affine(&params);
}

void qd_q8_lines_run(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct lines_q8 *lines = run->prepared;

    qd_q8_pixels_run(&lines->pixels, run, thread, n_threads, lines_pixels, lines);
}

void qd_q8_strides(const struct qd_value *value, int64_t ret_strides[QD_MAX_DIMS])
{
    const struct qd_shape *shape = &value->shape;

    qd_shape_strides(shape, ret_strides);
    if (qd_value_is_picture(value)) {
        ret_strides[1] = 1;
        ret_strides[3] = shape->dims[1];
        ret_strides[2] = shape->dims[1] * shape->dims[3];
        ret_strides[0] = shape->dims[1] * shape->dims[3] * shape->dims[2];
    }
}
