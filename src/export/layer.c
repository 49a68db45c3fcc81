/* Conv, Gemm, MatMul with constant weights: a convolution; Gemm's is of one output pixel. */
#include <math.h>
#include <string.h>

#include "export/internal.h"
#include "op/conv_q8.h"
#include "op/q8.h"

struct layer {
    struct qd_layer s; /* its arrays are not used after make */
    int c_group, n_group, taps;
    int8_t *w;     /* [n][kernel_h][kernel_w][c / group] */
    int32_t *bias; /* [n], -Z_in * sum(w) included */
    struct qd_fixed *mult;
    struct qd_fixed residual_mult;
    int residual, residual_zero; /* index into the step's inputs, or -1 */
    uint8_t *pad;                /* [c] */
    double *scale;               /* [n], where the output is accumulators: the real value of 1 */
    struct qd_integer_finish finish;
};

static bool takes(const struct qd_graph *graph, const struct qd_node *node)
{
    (void)graph;
    return node->op->layer != NULL;
}

/* [n][c][taps] of the calibration, or rounded to nearest, to [n][taps][c]. */
static enum qd_status take_weights(const struct qd_integer_build *build, const struct qd_node *node,
                                   struct layer *layer, const float **ret_scale, struct qd_arena *scratch,
                                   struct qd_error *err)
{
    const struct qd_layer_weights *found = node->layer_weights;
    int n = layer->s.n, k = layer->c_group * layer->taps;
    int8_t *nearest = qd_arena_alloc(scratch, (size_t)n * (size_t)k);
    float *scale = qd_arena_array(scratch, (size_t)n, sizeof(float));
    const int8_t *q = found && found->q ? found->q : nearest;

    layer->w = qd_arena_alloc(build->arena, (size_t)n * (size_t)k);
    if (!nearest || !scale || !layer->w)
        return qd_integer_no_memory(err);
    if (q == nearest && build->graph->values[node->inputs[0]].channel_steps)
        return qd_error_set(err, QD_UNSUPPORTED, "steps per channel without weights for them");
    if (q == nearest)
        qd_weights_quantize(layer->s.weights, n, k, found ? found->bits : 8, nearest, scale);
    *ret_scale = q == nearest ? scale : found->scale;
    for (int o = 0; o < n; o++)
        for (int c = 0; c < layer->c_group; c++)
            for (int t = 0; t < layer->taps; t++)
                layer->w[((int64_t)o * layer->taps + t) * layer->c_group + c] =
                    q[((int64_t)o * layer->c_group + c) * layer->taps + t];
    return QD_OK;
}

/* What all channels have in common. */
struct terms {
    double in_scale, in_zero, step, gain, shift;
};

static double sum_of(const int8_t *w, int k, double *ret_magnitude)
{
    int64_t sum = 0, size = 0;

    for (int i = 0; i < k; i++) {
        sum += w[i];
        size += w[i] < 0 ? -w[i] : w[i];
    }
    *ret_magnitude = (double)size;
    return (double)sum;
}

/*
 * Channel o: multiplier and bias. The bias is in units of the multiplier before its rounding, as in q8.c. A channel of
 * nearly no weights would need a bias past int32: it gets coarser weights, and one of none at all any multiplier.
 */
static enum qd_status set_channel(const struct qd_integer_build *build, const struct terms *terms, struct layer *layer,
                                  int o, double scale, double bias, double step, bool accumulators,
                                  struct qd_error *err)
{
    int k = layer->c_group * layer->taps, bits = build->multiplier_bits;
    int8_t *w = layer->w + (int64_t)o * k;
    double exact = terms->in_scale * scale / step * terms->gain, constant = (bias * terms->gain + terms->shift) / step;
    double mult = accumulators ? exact : qd_fixed_value(qd_fixed_of(exact, bits));
    double size, sum = sum_of(w, k, &size), largest, whole;

    if (size > 0 && mult != 0)
        constant *= mult / exact;
    if (size == 0 || fabs(constant) > mult * (1 << 30)) {
        double wide = fmax(exp2(ceil(log2(fabs(constant) / (1 << 30)))), accumulators ? 0 : 1.0 / 256);

        for (int i = 0; i < k && size > 0; i++)
            w[i] = (int8_t)rint(w[i] * mult / wide);
        mult = wide;
        sum = sum_of(w, k, &size);
    }
    whole = (mult > 0 ? rint(constant / mult) : 0) - terms->in_zero * sum;
    largest = fabs(whole) + 255 * size;
    layer->mult[o] = qd_fixed_of(mult, bits);
    layer->bias[o] = (int32_t)whole;
    layer->scale[o] = mult;
    if (largest > INT32_MAX)
        return qd_error_set(err, QD_UNSUPPORTED, "channel %d: its sums pass int32", o);
    if (!accumulators && !qd_integer_sum_fits(largest, layer->mult[o], 255, layer->residual_mult))
        return qd_error_set(err, QD_UNSUPPORTED, "channel %d: its products pass int64", o);
    return QD_OK;
}

static enum qd_status set_channels(const struct qd_integer_build *build, const struct qd_integer_step *step,
                                   struct layer *layer, const float *scale, struct qd_error *err)
{
    const struct qd_graph *graph = build->graph;
    const struct qd_node *node = step->node;
    struct qd_qparams in = qd_q8_of(graph, node->inputs[0]), out = qd_q8_of(graph, step->output);
    const float *steps = step->accumulators ? NULL : graph->values[step->output].channel_steps, *bias = layer->s.bias;
    struct terms terms = {(double)in.scale, in.zero_point, step->accumulators ? 1 : (double)out.scale, 1, 0};
    enum qd_status status = QD_OK;

    if (node->layer_weights && node->layer_weights->bias)
        bias = node->layer_weights->bias;
    if (node->act.kind == QD_ACT_HARDSIGMOID) { /* its line goes into the scales, its bounds are the clamp's */
        terms.gain = (double)node->act.alpha;
        terms.shift = (double)node->act.beta;
    }
    if (layer->residual >= 0) {
        struct qd_qparams q = qd_q8_of(graph, step->inputs[layer->residual]);

        layer->residual_mult = qd_fixed_of((double)q.scale / terms.step * terms.gain, build->multiplier_bits);
        layer->residual_zero = q.zero_point;
    }
    for (int o = 0; o < layer->s.n && status == QD_OK; o++)
        status = set_channel(build, &terms, layer, o, (double)scale[o], bias ? (double)bias[o] : 0,
                             terms.step * (steps ? (double)steps[o] : 1), step->accumulators, err);
    return status;
}

static void set_padding(const struct qd_integer_build *build, const struct qd_node *node, struct layer *layer)
{
    struct qd_q8_padding padding = {0};

    if (node->op->padding_q8)
        node->op->padding_q8(build->graph, node, &padding);
    for (int c = 0; c < layer->s.c; c++)
        layer->pad[c] =
            qd_q8_byte(padding.value ? padding.value[c] : 0, qd_q8_channel(build->graph, node->inputs[0], c));
}

static enum qd_status make(const struct qd_integer_build *build, struct qd_integer_step *step, struct qd_error *err)
{
    const struct qd_node *node = step->node;
    struct layer *layer = qd_arena_alloc(build->arena, sizeof(*layer));
    struct qd_arena scratch = {0};
    const float *scale = NULL;
    size_t n;
    enum qd_status status;

    if (!layer)
        return qd_integer_no_memory(err);
    step->data = layer;
    status = node->op->layer(build->graph, node, &scratch, &layer->s, err);
    if (status != QD_OK) {
        qd_arena_done(&scratch);
        return status;
    }
    n = (size_t)layer->s.n;
    layer->c_group = layer->s.c / layer->s.group;
    layer->n_group = layer->s.n / layer->s.group;
    layer->taps = (int)(layer->s.window.kernel[0] * layer->s.window.kernel[1]);
    layer->residual = node->residual >= 0 ? step->n_inputs - 1 : -1;
    layer->bias = qd_arena_array(build->arena, n, sizeof(int32_t));
    layer->mult = qd_arena_array(build->arena, n, sizeof(*layer->mult));
    layer->scale = qd_arena_array(build->arena, n, sizeof(double));
    layer->pad = qd_arena_alloc(build->arena, (size_t)layer->s.c);
    if (!layer->bias || !layer->mult || !layer->scale || !layer->pad)
        status = qd_integer_no_memory(err);
    if (status == QD_OK)
        status = take_weights(build, node, layer, &scale, &scratch, err);
    if (status == QD_OK)
        status = set_channels(build, step, layer, scale, err);
    if (status == QD_OK)
        status = qd_integer_finish_make(build, node, layer->s.n, &layer->finish, err);
    if (status == QD_OK)
        set_padding(build, node, layer);
    qd_arena_done(&scratch);
    return status;
}

/* The sum of products of output channel o at the pixel (y, x), its bias included. */
static int32_t accumulate(const struct layer *layer, const uint8_t *in, int o, int64_t y, int64_t x)
{
    const struct qd_window *window = &layer->s.window;
    int first_c = o / layer->n_group * layer->c_group;
    const int8_t *w = layer->w + (int64_t)o * layer->taps * layer->c_group;
    int32_t acc = layer->bias[o];

    for (int64_t ky = 0; ky < window->kernel[0]; ky++) {
        for (int64_t kx = 0; kx < window->kernel[1]; kx++, w += layer->c_group) {
            int64_t iy = y * window->stride[0] + ky * window->dilation[0] - window->pad_begin[0];
            int64_t ix = x * window->stride[1] + kx * window->dilation[1] - window->pad_begin[1];
            bool inside = iy >= 0 && iy < layer->s.h && ix >= 0 && ix < layer->s.w;
            const uint8_t *row = (inside ? in + (iy * layer->s.w + ix) * layer->s.c : layer->pad) + first_c;

            for (int c = 0; c < layer->c_group; c++)
                acc += row[c] * w[c];
        }
    }
    return acc;
}

static void run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    const struct layer *layer = step->data;
    int64_t at = 0;

    (void)graph;
    for (int y = 0; y < layer->s.out_h; y++) {
        for (int x = 0; x < layer->s.out_w; x++) {
            for (int o = 0; o < layer->s.n; o++, at++) {
                int32_t acc = accumulate(layer, qd_integer_in(step, values, 0), o, y, x);
                int64_t residual = layer->residual >= 0
                                       ? qd_integer_in(step, values, layer->residual)[at] - layer->residual_zero
                                       : 0,
                        p;
                int shift;

                if (step->accumulators) {
                    ((int32_t *)values[step->output])[at] = acc;
                    continue;
                }
                p = qd_integer_sum(acc, layer->mult[o], residual, layer->residual_mult, &shift);
                ((uint8_t *)values[step->output])[at] = qd_integer_finish_byte(&layer->finish, p, shift, o);
            }
        }
    }
}

static bool describe_sums(const struct qd_integer_step *step, const struct layer *layer, json_t *json)
{
    json_t *bias = json_array(), *scale = json_array(), *residual;
    bool done = bias && scale;

    for (int o = 0; o < layer->s.n && done; o++)
        done = json_array_append_new(bias, json_integer(layer->bias[o])) == 0 &&
               json_array_append_new(scale, json_real(layer->scale[o])) == 0;
    done = json_object_set_new(json, "bias", bias) == 0 && done;
    if (step->accumulators)
        return json_object_set_new(json, "output_scale", scale) == 0 && done;
    json_decref(scale);
    if (layer->residual >= 0) {
        residual = json_pack("{s:i, s:i, s:i, s:i}", "input", layer->residual, "zero_point", layer->residual_zero,
                             "multiplier", layer->residual_mult.m, "shift", layer->residual_mult.shift);
        done = json_object_set_new(json, "residual", residual) == 0 && done;
    }
    return json_object_set_new(json, "multiplier", qd_integer_multipliers(layer->mult, layer->s.n)) == 0 &&
           json_object_set_new(json, "shift", qd_integer_shifts(layer->mult, layer->s.n)) == 0 &&
           qd_integer_finish_describe(&layer->finish, layer->s.n, json) && done;
}

static bool describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json, struct qd_buf *bin)
{
    const struct layer *layer = step->data;
    const struct qd_window *window = &layer->s.window;
    const int64_t pads[] = {window->pad_begin[0], window->pad_begin[1], window->pad_end[0], window->pad_end[1]};
    json_t *shape = json_pack("[i, I, I, i]", layer->s.n, (json_int_t)window->kernel[0], (json_int_t)window->kernel[1],
                              layer->c_group);
    json_t *weights = qd_integer_append(bin, layer->w,
                                        (size_t)layer->s.n * (size_t)layer->taps * (size_t)layer->c_group, "s8", shape);
    json_t *pad = json_array();
    bool done = pad != NULL;

    (void)graph;
    for (int c = 0; c < layer->s.c && done; c++)
        done = json_array_append_new(pad, json_integer(layer->pad[c])) == 0;
    done = json_object_set_new(json, "pad_bytes", pad) == 0 && done;
    return json_object_set_new(json, "in", json_pack("[i, i, i]", layer->s.h, layer->s.w, layer->s.c)) == 0 &&
           json_object_set_new(json, "out", json_pack("[i, i, i]", layer->s.out_h, layer->s.out_w, layer->s.n)) == 0 &&
           json_object_set_new(json, "group", json_integer(layer->s.group)) == 0 &&
           json_object_set_new(json, "kernel", qd_integer_ints(window->kernel, 2)) == 0 &&
           json_object_set_new(json, "strides", qd_integer_ints(window->stride, 2)) == 0 &&
           json_object_set_new(json, "dilations", qd_integer_ints(window->dilation, 2)) == 0 &&
           json_object_set_new(json, "pads", qd_integer_ints(pads, 4)) == 0 &&
           json_object_set_new(json, "weights", weights) == 0 && describe_sums(step, layer, json) && done;
}

static double scale_of(const struct qd_integer_step *step, int c)
{
    return ((const struct layer *)step->data)->scale[c];
}

const struct qd_integer_kind qd_integer_layer = {"layer", takes, make, run, describe, scale_of};
