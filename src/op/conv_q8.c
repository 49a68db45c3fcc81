#include "op/conv_q8.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "op/q8.h"

/* Pixels whose floats are in scratch at a time, where the output is float. */
#define F32_CHUNK 448

struct conv_q8 {
    struct qd_layer s; /* its arrays are not used after prepare */
    const struct qd_kernels *kernels;
    bool depthwise, output_f32;
    int residual;  /* input index or -1 */
    int n_group;   /* output channels of a group */
    void **packed; /* by group; [0] alone where depthwise */
    struct qd_conv_params params;
    struct qd_depthwise_params depthwise_params;
    ptrdiff_t in_at; /* from an image's first pixel to tap (0, 0) of its first output pixel */
    struct qd_requant requant;
};

/* As integers, which order as the floats do and whose maximum compilers vectorise; a NaN counts as zero. */
static float largest_magnitude(const float *x, int n)
{
    int32_t largest = 0;
    float value;

    for (int i = 0; i < n; i++) {
        int32_t bits;

        memcpy(&bits, &x[i], sizeof(bits));
        bits &= 0x7fffffff;
        bits = bits > 0x7f800000 ? 0 : bits;
        largest = bits > largest ? bits : largest;
    }
    memcpy(&value, &largest, sizeof(value));
    return value;
}

void qd_weights_quantize(const float *w, int n, int k, int bits, int8_t *q, float *scale)
{
    const float max = (float)((1 << (bits - 1)) - 1);

    for (int o = 0; o < n; o++) {
        const float *row = w + (size_t)o * (size_t)k;
        int8_t *out = q + (size_t)o * (size_t)k;
        float largest = largest_magnitude(row, k);

        scale[o] = largest > 0 ? largest / max : 1;
        for (int i = 0; i < k; i++) {
            float steps = row[i] / scale[o];

            steps = steps > -max ? steps : -max;
            steps = steps < max ? steps : max;
            /* rintf in a form that compilers vectorise: at 1.5 * 2^23 a float's last bit is 1. */
            out[i] = (int8_t)(int)(steps + 0x1.8p23f - 0x1.8p23f);
        }
    }
}

/* [n][c][taps] to [n][taps][c]: the order in which NHWC rows are gathered. */
static void to_nhwc(const int8_t *w, int n, int c, int taps, int8_t *out)
{
    for (int o = 0; o < n; o++)
        for (int i = 0; i < c; i++)
            for (int t = 0; t < taps; t++)
                out[((size_t)o * (size_t)taps + (size_t)t) * (size_t)c + (size_t)i] =
                    w[((size_t)o * (size_t)c + (size_t)i) * (size_t)taps + (size_t)t];
}

static enum qd_status pack(struct qd_q8_prepare *prepare, struct conv_q8 *conv, const int8_t *w, struct qd_error *err)
{
    const struct qd_kernels *kernels = conv->kernels;
    int n_packed = conv->depthwise ? 1 : conv->s.group, n_runs = conv->params.n_runs, run_k = conv->params.run_k;
    int taps = (int)(conv->s.window.kernel[0] * conv->s.window.kernel[1]);
    size_t size = conv->depthwise ? kernels->depthwise_pack_size(conv->s.c, taps)
                                  : kernels->conv_pack_size(conv->n_group, n_runs, run_k);

    conv->packed = qd_arena_array(prepare->arena, (size_t)n_packed, sizeof(void *));
    if (!conv->packed)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for packed weights");
    for (int g = 0; g < n_packed; g++) {
        conv->packed[g] = qd_arena_alloc(prepare->arena, size);
        if (!conv->packed[g])
            return qd_error_set(err, QD_NO_MEMORY, "no memory for packed weights");
        if (conv->depthwise)
            kernels->depthwise_pack(conv->packed[g], w, conv->s.c, taps);
        else
            kernels->conv_pack(conv->packed[g], w + (size_t)g * (size_t)conv->n_group * (size_t)n_runs * (size_t)run_k,
                               conv->n_group, n_runs, run_k);
    }
    return QD_OK;
}

/* The output rows whose window's row ky lies in the picture: in all others it is padding, which is bytes of 0. */
static void rows_inside(const struct conv_q8 *conv, int ky, struct qd_conv_rows *ret)
{
    const struct qd_window *window = &conv->s.window;
    int64_t at = ky * window->dilation[0] - window->pad_begin[0], stride = window->stride[0];

    ret->begin = (int)(at < 0 ? (-at + stride - 1) / stride : 0);
    ret->end = (int)(at < conv->s.h ? (conv->s.h - at + stride - 1) / stride : 0);
}

/* A run is a row of the window where its pixels follow each other in memory, else a single tap. */
static enum qd_status set_runs(struct qd_q8_prepare *prepare, struct conv_q8 *conv, struct qd_error *err)
{
    const struct qd_window *window = &conv->s.window;
    const struct qd_steps *in = &conv->params.in_steps;
    int c_group = conv->s.c / conv->s.group, kernel_h = (int)window->kernel[0], kernel_w = (int)window->kernel[1];
    bool rows = kernel_w == 1 || (conv->s.group == 1 && window->dilation[1] == 1 && in->x == conv->s.c);
    int per_row = rows ? 1 : kernel_w;
    ptrdiff_t *offset = qd_arena_array(prepare->arena, (size_t)kernel_h * (size_t)per_row, sizeof(*offset));

    if (!offset)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a convolution");
    for (int r = 0; r < kernel_h * per_row; r++)
        offset[r] = r / per_row * window->dilation[0] * in->y + r % per_row * window->dilation[1] * in->x;
    conv->params.run_offset = offset;
    conv->params.n_runs = kernel_h * per_row;
    if ((window->pad_begin[0] || window->pad_end[0]) && qd_q8_input(prepare, 0).zero_point == 0 &&
        !conv->s.padded_with_values) {
        struct qd_conv_rows *run_rows = qd_arena_array(prepare->arena, (size_t)conv->params.n_runs, sizeof(*run_rows));

        if (!run_rows)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for a convolution");
        for (int r = 0; r < conv->params.n_runs; r++)
            rows_inside(conv, r / per_row, &run_rows[r]);
        conv->params.run_rows = run_rows;
    }
    conv->params.run_k = rows ? kernel_w * c_group : c_group;
    return QD_OK;
}

static void set_depthwise(struct conv_q8 *conv)
{
    const struct qd_window *window = &conv->s.window;

    conv->depthwise_params = (struct qd_depthwise_params){
        .in_steps = conv->params.in_steps,
        .out_steps = conv->params.out_steps,
        .residual_steps = conv->params.residual_steps,
        .c = conv->s.c,
        .out_w = conv->s.out_w,
        .kernel_h = (int)window->kernel[0],
        .kernel_w = (int)window->kernel[1],
        .stride_h = (int)window->stride[0],
        .stride_w = (int)window->stride[1],
        .dilation_h = (int)window->dilation[0],
        .dilation_w = (int)window->dilation[1],
        .requant = &conv->requant,
    };
}

/* Rows lie one behind the other; their tensors have no steps of pixels. */
static struct qd_steps steps_of(const struct qd_layer *layer, const struct qd_steps *steps, int channels)
{
    struct qd_steps rows = {.image = steps->image, .y = (ptrdiff_t)layer->w * channels, .x = channels};

    return layer->rows ? rows : *steps;
}

static enum qd_status set_shape(struct qd_q8_prepare *prepare, struct conv_q8 *conv, struct qd_error *err)
{
    const struct qd_window *window = &conv->s.window;
    struct qd_steps in = steps_of(&conv->s, &prepare->in_steps[0], conv->s.c);
    enum qd_status status;

    conv->n_group = conv->s.n / conv->s.group;
    conv->depthwise = conv->s.group == conv->s.c && conv->s.n == conv->s.c && conv->s.c > 1 && !conv->output_f32;
    conv->in_at = -(ptrdiff_t)window->pad_begin[0] * in.y - (ptrdiff_t)window->pad_begin[1] * in.x;
    conv->params.in_steps = in;
    conv->params.out_steps = steps_of(&conv->s, &prepare->out_steps[0], conv->s.n);
    if (conv->residual >= 0)
        conv->params.residual_steps = steps_of(&conv->s, &prepare->in_steps[conv->residual], conv->s.n);
    if (conv->depthwise) {
        set_depthwise(conv);
        return QD_OK;
    }
    status = set_runs(prepare, conv, err);
    if (status != QD_OK)
        return status;
    conv->params.in_steps.x = window->stride[1] * in.x;
    conv->params.in_steps.y = window->stride[0] * in.y;
    conv->params.n = conv->n_group;
    conv->params.out_h = conv->s.out_h;
    conv->params.out_w = conv->s.out_w;
    return QD_OK;
}

/* Weights as int8, in the units of the bytes: [n][c / group][taps], a scale for each of n. */
struct rounded {
    const int8_t *w;
    const float *scale, *bias;
};

/* w times the step of each input channel. */
static void scale_inputs(const struct qd_layer *layer, const float *steps, float *ret)
{
    int taps = (int)(layer->window.kernel[0] * layer->window.kernel[1]), c_group = layer->c / layer->group;
    const float *w = layer->weights;

    for (int o = 0; o < layer->n; o++) {
        const float *group = steps + o / (layer->n / layer->group) * c_group;

        for (int c = 0; c < c_group; c++)
            for (int t = 0; t < taps; t++)
                *ret++ = *w++ * group[c];
    }
}

/* What the calibration found, or else the layer's own weights rounded to nearest, into arena. */
static enum qd_status round_weights(const struct qd_q8_prepare *prepare, const struct qd_layer *layer, int k,
                                    struct qd_arena *arena, struct rounded *ret, struct qd_error *err)
{
    const struct qd_layer_weights *found = prepare->node->layer_weights;
    const float *steps = prepare->graph->values[prepare->node->inputs[0]].channel_steps, *w = layer->weights;
    size_t n_weights = (size_t)layer->n * (size_t)k;
    float *scaled = NULL, *scale;
    int8_t *q;

    ret->bias = found && found->bias ? found->bias : layer->bias;
    if (found && found->q) {
        ret->w = found->q;
        ret->scale = found->scale;
        return QD_OK;
    }
    ret->w = q = qd_arena_alloc(arena, n_weights);
    ret->scale = scale = qd_arena_array(arena, (size_t)layer->n, sizeof(float));
    if (steps)
        w = scaled = qd_arena_array(arena, n_weights, sizeof(float));
    if (!q || !scale || !w)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
    if (steps)
        scale_inputs(layer, steps, scaled);
    qd_weights_quantize(w, layer->n, k, found ? found->bits : 8, q, scale);
    return QD_OK;
}

static enum qd_status prepare_layer(struct qd_q8_prepare *prepare, const struct qd_layer *layer,
                                    struct qd_arena *scratch, struct qd_error *err)
{
    struct conv_q8 *conv = qd_arena_alloc(prepare->arena, sizeof(*conv));
    int taps = (int)(layer->window.kernel[0] * layer->window.kernel[1]), c_group = layer->c / layer->group;
    int k = taps * c_group;
    int8_t *w = qd_arena_alloc(scratch, (size_t)layer->n * (size_t)k);
    struct rounded rounded;
    enum qd_status status;

    if (!conv || !w)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
    conv->s = *layer;
    conv->kernels = prepare->kernels;
    conv->output_f32 = prepare->output_f32;
    conv->residual = prepare->node->residual;
    status = round_weights(prepare, layer, k, scratch, &rounded, err);
    if (status != QD_OK)
        return status;
    to_nhwc(rounded.w, layer->n, c_group, taps, w);
    status = qd_q8_requant(prepare, w, rounded.scale, rounded.bias, layer->n, k, &conv->requant, err);
    if (status == QD_OK)
        status = set_shape(prepare, conv, err);
    if (status == QD_OK)
        status = pack(prepare, conv, w, err);
    prepare->prepared = conv;
    if (conv->output_f32)
        prepare->scratch_size = (size_t)F32_CHUNK * (size_t)conv->n_group * sizeof(float);
    return status;
}

enum qd_status qd_conv_q8_prepare(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    struct qd_arena scratch = {0};
    struct qd_layer layer;
    enum qd_status status = prepare->node->op->layer(prepare->graph, prepare->node, &scratch, &layer, err);

    if (status == QD_OK)
        status = prepare_layer(prepare, &layer, &scratch, err);
    qd_arena_done(&scratch);
    return status;
}

/* Channels [begin, end) of m pixels' floats, [m][n], to the output's, [n][pixels]. */
static void scatter(const float *in, int m, int n, int first, int pixels, int begin, int end, float *out)
{
    for (int c = begin; c < end; c++)
        for (int p = 0; p < m; p++)
            out[(size_t)c * (size_t)pixels + (size_t)(first + p)] = in[(size_t)p * (size_t)n + (size_t)c];
}

/* The same where the output has channels last too. */
static void copy_rows(const float *in, int m, int n, int begin, int end, float *out)
{
    for (int p = 0; p < m; p++)
        memcpy(out + (ptrdiff_t)p * n + begin, in + (ptrdiff_t)p * n + begin, (size_t)(end - begin) * sizeof(float));
}

/* The last layer's floats, image by image into the order of the ONNX shape. */
static void run_floats(const struct conv_q8 *conv, const struct qd_q8_run *run, struct qd_conv_params *params,
                       int group)
{
    int pixels = conv->s.out_h * conv->s.out_w;

    params->out_f32 = run->scratch;
    conv->kernels->conv(params);
    for (int m = 0, n; m < params->m; m += n) {
        int64_t at = params->first + m, image = at / pixels;
        int first = (int)(at % pixels);
        const float *in = params->out_f32 + (ptrdiff_t)m * params->n;
        float *out = (float *)(void *)((uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0]);

        n = pixels - first < params->m - m ? pixels - first : params->m - m;
        if (conv->s.rows || pixels == 1)
            copy_rows(in, n, params->n, params->n_begin, params->n_end,
                      out + (ptrdiff_t)group * conv->n_group + (ptrdiff_t)first * params->n);
        else
            scatter(in, n, params->n, first, pixels, params->n_begin, params->n_end,
                    out + (ptrdiff_t)group * conv->n_group * pixels);
    }
}

/* Output pixels [begin, end) of the batch, output channels [n_begin, n_end) of each group. */
static void run_pixels(const struct conv_q8 *conv, const struct qd_q8_run *run, int64_t begin, int64_t end, int n_begin,
                       int n_end)
{
    struct qd_conv_params params = conv->params;
    int c_group = conv->s.c / conv->s.group, limit = conv->output_f32 ? F32_CHUNK : INT_MAX;

    params.n_begin = n_begin;
    params.n_end = n_end;
    params.in_steps.image = (ptrdiff_t)run->input_pitch[0];
    params.out_steps.image = (ptrdiff_t)run->output_pitch[0];
    if (conv->residual >= 0)
        params.residual_steps.image = (ptrdiff_t)run->input_pitch[conv->residual];
    for (params.first = begin; params.first < end; params.first += params.m) {
        params.m = (int)(end - params.first < limit ? end - params.first : limit);
        for (int g = 0; g < conv->s.group; g++) {
            struct qd_requant requant = conv->requant;

            requant.mult += g * conv->n_group;
            requant.offset += g * conv->n_group;
            requant.slope += g * conv->n_group;
            params.requant = &requant;
            params.weights = conv->packed[g];
            params.in = run->inputs[0] + conv->in_at + (ptrdiff_t)g * c_group;
            if (conv->output_f32) {
                run_floats(conv, run, &params, g);
                continue;
            }
            params.out = (uint8_t *)run->outputs[0] + (ptrdiff_t)g * conv->n_group;
            if (conv->residual >= 0)
                params.residual = run->inputs[conv->residual] + (ptrdiff_t)g * conv->n_group;
            conv->kernels->conv(&params);
        }
    }
}

/*
 * Threads share the pixels, or the output channels where there is more to read of weights than of activations: then
 * each reads its part of the weights alone, but for shares too unequal. Why a rule and not a search: docs/adr/0001.
 */
static void run_dense(const struct conv_q8 *conv, const struct qd_q8_run *run, int thread, int n_threads)
{
    int64_t begin = 0, end, pixels = (int64_t)conv->s.out_h * conv->s.out_w * run->n_images;
    int64_t panels_begin = 0, panels_end = (conv->n_group + QD_CONV_PANEL - 1) / QD_CONV_PANEL;
    int64_t weights = (int64_t)conv->n_group * conv->params.n_runs * conv->params.run_k;
    int64_t activations = pixels * (conv->s.c / conv->s.group + conv->n_group);
    int64_t most = (panels_end + n_threads - 1) / n_threads * QD_CONV_PANEL * n_threads; /* if all had the most */
    bool even = panels_end % n_threads == 0 && most - conv->n_group <= conv->n_group / 12;
    bool by_channels = even ? weights > activations : pixels < 4 * n_threads && panels_end >= n_threads;

    if (by_channels) {
        end = pixels;
        qd_share(panels_end, thread, n_threads, &panels_begin, &panels_end);
    } else {
        int64_t rows = (int64_t)conv->s.out_h * run->n_images, unit = rows >= 4 * n_threads ? conv->s.out_w : 1;

        qd_share(pixels / unit, thread, n_threads, &begin, &end);
        begin *= unit;
        end *= unit;
    }
    panels_end = panels_end * QD_CONV_PANEL < conv->n_group ? panels_end * QD_CONV_PANEL : conv->n_group;
    if (panels_begin * QD_CONV_PANEL < panels_end)
        run_pixels(conv, run, begin, end, (int)panels_begin * QD_CONV_PANEL, (int)panels_end);
}

static void run_depthwise(const struct conv_q8 *conv, const struct qd_q8_run *run, int thread, int n_threads)
{
    struct qd_depthwise_params params = conv->depthwise_params;
    int64_t begin, end;

    params.weights = conv->packed[0];
    qd_share((int64_t)run->n_images * conv->s.out_h, thread, n_threads, &begin, &end);
    while (begin < end) {
        int64_t image = begin / conv->s.out_h, rows;

        params.y_begin = (int)(begin % conv->s.out_h);
        rows = end - begin < conv->s.out_h - params.y_begin ? end - begin : conv->s.out_h - params.y_begin;
        params.y_end = params.y_begin + (int)rows;
        params.in = run->inputs[0] + (size_t)image * run->input_pitch[0] + conv->in_at;
        params.out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0];
        params.residual =
            conv->residual < 0 ? NULL : run->inputs[conv->residual] + (size_t)image * run->input_pitch[conv->residual];
        conv->kernels->depthwise(&params);
        begin += rows;
    }
}

bool qd_conv_q8_fuses(const struct qd_node *node, const struct qd_activation *act)
{
    (void)node;
    (void)act;
    return true;
}

void qd_conv_q8_run(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct conv_q8 *conv = run->prepared;

    if (conv->depthwise)
        run_depthwise(conv, run, thread, n_threads);
    else
        run_dense(conv, run, thread, n_threads);
}
