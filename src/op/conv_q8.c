#include "op/conv_q8.h"

#include <math.h>
#include <string.h>

#include "op/q8.h"

/* Output channels are packed in blocks, so that threads can also split them. */
#define BLOCK_N 64
/* Rows of the gathered input matrix that are worked on at once take about this much. */
#define CHUNK_BYTES (96 * 1024)

struct conv_q8 {
    struct qd_conv_q8_source s; /* pointers into the graph are not used after prepare */
    const struct qd_kernels *kernels;
    bool depthwise, pointwise, output_f32;
    int residual; /* input index or -1 */
    int k;        /* length of a row: kernel_h * kernel_w * channels of a group */
    int chunk;    /* rows at once */
    int n_blocks; /* per group */
    void **packed; /* [group * n_blocks], or the depthwise weights */
    struct qd_requant requant;
    const uint8_t *pad_bytes; /* [c] */
    size_t columns_size;      /* scratch for gathered rows; floats of output follow */
};

void qd_weights_quantize(const float *w, int n, int k, int8_t *q, float *scale)
{
    for (int o = 0; o < n; o++) {
        const float *row = w + (size_t)o * (size_t)k;
        float largest = 0;

        for (int i = 0; i < k; i++)
            largest = fmaxf(largest, fabsf(row[i]));
        scale[o] = largest > 0 ? largest / 127 : 1;
        for (int i = 0; i < k; i++) {
            float steps = rintf(row[i] / scale[o]);

            q[(size_t)o * (size_t)k + (size_t)i] = (int8_t)fminf(fmaxf(steps, -127), 127);
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
    int n_group = conv->s.n / conv->s.group, taps = (int)(conv->s.window.kernel[0] * conv->s.window.kernel[1]);
    size_t size;

    conv->n_blocks = conv->depthwise ? 1 : (n_group + BLOCK_N - 1) / BLOCK_N;
    conv->packed = qd_arena_array(prepare->arena, (size_t)(conv->depthwise ? 1 : conv->s.group * conv->n_blocks),
                                  sizeof(void *));
    if (!conv->packed)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for packed weights");
    if (conv->depthwise) {
        size = kernels->depthwise_pack_size(conv->s.c, taps);
        conv->packed[0] = qd_arena_alloc(prepare->arena, size);
        if (!conv->packed[0])
            return qd_error_set(err, QD_NO_MEMORY, "no memory for packed weights");
        kernels->depthwise_pack(conv->packed[0], w, conv->s.c, taps);
        return QD_OK;
    }
    for (int g = 0; g < conv->s.group; g++) {
        for (int b = 0; b < conv->n_blocks; b++) {
            int first = g * n_group + b * BLOCK_N;
            int n = n_group - b * BLOCK_N < BLOCK_N ? n_group - b * BLOCK_N : BLOCK_N;
            void **to = &conv->packed[g * conv->n_blocks + b];

            *to = qd_arena_alloc(prepare->arena, kernels->gemm_pack_size(n, conv->k));
            if (!*to)
                return qd_error_set(err, QD_NO_MEMORY, "no memory for packed weights");
            kernels->gemm_pack(*to, w + (size_t)first * (size_t)conv->k, n, conv->k);
        }
    }
    return QD_OK;
}

static enum qd_status set_padding(struct qd_q8_prepare *prepare, struct conv_q8 *conv, struct qd_qparams in,
                                  struct qd_error *err)
{
    uint8_t *bytes = qd_arena_alloc(prepare->arena, (size_t)conv->s.c + QD_KERNEL_SLACK);

    if (!bytes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for padding");
    for (int c = 0; c < conv->s.c; c++) {
        float real = conv->s.pad_value ? conv->s.pad_value[c] : 0;

        bytes[c] = qd_q8_byte(real, in);
    }
    conv->pad_bytes = bytes;
    return QD_OK;
}

static void set_shape(struct conv_q8 *conv)
{
    const struct qd_window *window = &conv->s.window;
    bool one = true;

    for (int i = 0; i < 2; i++)
        one = one && window->kernel[i] == 1 && window->stride[i] == 1 && !window->pad_begin[i] && !window->pad_end[i];
    conv->k = conv->s.c / conv->s.group * (int)(window->kernel[0] * window->kernel[1]);
    conv->depthwise = conv->s.group == conv->s.c && conv->s.n == conv->s.c && conv->s.c > 1 && !conv->output_f32;
    conv->pointwise = one;
    conv->chunk = CHUNK_BYTES / (conv->k + 1) / 12 * 12;
    conv->chunk = conv->chunk < 12 ? 12 : conv->chunk > 240 ? 240 : conv->chunk;
    conv->columns_size = (size_t)conv->chunk * (size_t)conv->k + QD_KERNEL_SLACK;
    conv->columns_size = (conv->columns_size + QD_ALIGNMENT - 1) / QD_ALIGNMENT * QD_ALIGNMENT;
}

enum qd_status qd_conv_q8_prepare(struct qd_q8_prepare *prepare, const struct qd_conv_q8_source *source,
                                  struct qd_error *err)
{
    struct qd_arena scratch = {0};
    struct conv_q8 *conv = qd_arena_alloc(prepare->arena, sizeof(*conv));
    int taps = (int)(source->window.kernel[0] * source->window.kernel[1]), c_group = source->c / source->group;
    size_t n_weights = (size_t)source->n * (size_t)c_group * (size_t)taps;
    int8_t *rounded = qd_arena_alloc(&scratch, n_weights), *w = qd_arena_alloc(&scratch, n_weights);
    float *scale = qd_arena_array(&scratch, (size_t)source->n, sizeof(float));
    enum qd_status status = QD_OK;

    if (!conv || !rounded || !w || !scale) {
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
        goto out;
    }
    conv->s = *source;
    conv->kernels = prepare->kernels;
    conv->output_f32 = prepare->output_f32;
    conv->residual = prepare->node->residual;
    set_shape(conv);
    qd_weights_quantize(source->weights, source->n, c_group * taps, rounded, scale);
    to_nhwc(rounded, source->n, c_group, taps, w);
    status = qd_q8_requant(prepare, w, scale, source->bias, source->n, conv->k, &conv->requant, err);
    if (status == QD_OK)
        status = set_padding(prepare, conv, qd_q8_input(prepare, 0), err);
    if (status == QD_OK)
        status = pack(prepare, conv, w, err);
    prepare->prepared = conv;
    prepare->scratch_size = conv->depthwise ? 0 : conv->columns_size;
    if (conv->output_f32)
        prepare->scratch_size += (size_t)conv->chunk * (size_t)source->n * sizeof(float);
out:
    qd_arena_done(&scratch);
    return status;
}

/* The rows of the input matrix for output pixels [first, first + m) of one image and group. */
static void gather(const struct conv_q8 *conv, const uint8_t *in, int group, int first, int m, uint8_t *rows)
{
    const struct qd_window *window = &conv->s.window;
    int c = conv->s.c, c_group = c / conv->s.group, h = conv->s.h, w = conv->s.w;
    int kernel_w = (int)window->kernel[1], dilation_w = (int)window->dilation[1];
    bool contiguous = conv->s.group == 1 && dilation_w == 1;

    in += group * c_group;
    for (int p = first; p < first + m; p++) {
        int y = p / conv->s.out_w * (int)window->stride[0] - (int)window->pad_begin[0];
        int x = p % conv->s.out_w * (int)window->stride[1] - (int)window->pad_begin[1];

        for (int ky = 0; ky < window->kernel[0]; ky++) {
            int iy = y + ky * (int)window->dilation[0];
            bool row_inside = iy >= 0 && iy < h;

            if (row_inside && contiguous && x >= 0 && x + kernel_w <= w) {
                memcpy(rows, in + ((size_t)iy * (size_t)w + (size_t)x) * (size_t)c, (size_t)(kernel_w * c));
                rows += kernel_w * c;
                continue;
            }
            for (int kx = 0; kx < kernel_w; kx++, rows += c_group) {
                int ix = x + kx * dilation_w;

                if (row_inside && ix >= 0 && ix < w)
                    memcpy(rows, in + ((size_t)iy * (size_t)w + (size_t)ix) * (size_t)c, (size_t)c_group);
                else
                    memcpy(rows, conv->pad_bytes + group * c_group, (size_t)c_group);
            }
        }
    }
}

/* Floats of m pixels, pixel by pixel, to the output's channel by channel. */
static void scatter(const float *in, int m, int n, int first, int pixels, int first_channel, float *out)
{
    for (int c = 0; c < n; c++)
        for (int p = 0; p < m; p++)
            out[(size_t)(first_channel + c) * (size_t)pixels + (size_t)(first + p)] = in[(size_t)p * (size_t)n + (size_t)c];
}

/* Output pixels [first, first + m) of an image, column blocks [block_begin, block_end) of a group. */
static void run_chunk(const struct conv_q8 *conv, const struct qd_q8_run *run, int image, int group, int first, int m,
                      int block_begin, int block_end)
{
    int n_group = conv->s.n / conv->s.group, pixels = conv->s.out_h * conv->s.out_w;
    const uint8_t *in = run->inputs[0] + (size_t)image * run->input_pitch[0];
    uint8_t *out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0];
    uint8_t *rows = run->scratch;
    float *floats = (float *)(void *)((uint8_t *)run->scratch + conv->columns_size);
    struct qd_gemm_params params = {.m = m, .k = conv->k};

    if (conv->pointwise) {
        params.a = in + (size_t)first * (size_t)conv->s.c + (size_t)group * (size_t)conv->k;
        params.a_stride = conv->s.c;
    } else {
        gather(conv, in, group, first, m, rows);
        params.a = rows;
        params.a_stride = conv->k;
    }
    for (int b = block_begin; b < block_end; b++) {
        int channel = group * n_group + b * BLOCK_N;
        struct qd_requant requant = conv->requant;

        requant.mult += channel;
        requant.offset += channel;
        params.n = n_group - b * BLOCK_N < BLOCK_N ? n_group - b * BLOCK_N : BLOCK_N;
        params.b = conv->packed[group * conv->n_blocks + b];
        params.requant = &requant;
        if (conv->output_f32) {
            params.out_f32 = floats;
            params.out_stride = params.n * (ptrdiff_t)sizeof(float);
            conv->kernels->gemm(&params);
            scatter(floats, m, params.n, first, pixels, channel, (float *)(void *)out);
            continue;
        }
        params.out = out + (size_t)first * (size_t)conv->s.n + (size_t)channel;
        params.out_stride = conv->s.n;
        if (conv->residual >= 0) {
            params.residual = run->inputs[conv->residual] + (size_t)image * run->input_pitch[conv->residual] +
                              (size_t)first * (size_t)conv->s.n + (size_t)channel;
            params.residual_stride = conv->s.n;
        }
        conv->kernels->gemm(&params);
    }
}

static void run_dense(const struct conv_q8 *conv, const struct qd_q8_run *run, int thread, int n_threads)
{
    int pixels = conv->s.out_h * conv->s.out_w;
    int64_t begin, end, blocks_begin = 0, blocks_end = conv->n_blocks, total = (int64_t)pixels * run->n_images;

    /* Few pixels (a fully connected layer): the threads share the output channels instead. */
    if (total < 4 * n_threads && conv->n_blocks >= n_threads) {
        begin = 0;
        end = total;
        qd_share(conv->n_blocks, thread, n_threads, &blocks_begin, &blocks_end);
    } else {
        qd_share(total, thread, n_threads, &begin, &end);
    }
    while (begin < end) {
        int image = (int)(begin / pixels), first = (int)(begin % pixels);
        int64_t m = end - begin < pixels - first ? end - begin : pixels - first;

        m = m < conv->chunk ? m : conv->chunk;
        for (int g = 0; g < conv->s.group; g++)
            run_chunk(conv, run, image, g, first, (int)m, (int)blocks_begin, (int)blocks_end);
        begin += m;
    }
}

static void run_depthwise(const struct conv_q8 *conv, const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct qd_window *window = &conv->s.window;
    struct qd_depthwise_params params = {
        .weights = conv->packed[0],
        .pad_value = conv->pad_bytes,
        .h = conv->s.h,
        .w = conv->s.w,
        .c = conv->s.c,
        .out_h = conv->s.out_h,
        .out_w = conv->s.out_w,
        .kernel_h = (int)window->kernel[0],
        .kernel_w = (int)window->kernel[1],
        .stride_h = (int)window->stride[0],
        .stride_w = (int)window->stride[1],
        .dilation_h = (int)window->dilation[0],
        .dilation_w = (int)window->dilation[1],
        .pad_top = (int)window->pad_begin[0],
        .pad_left = (int)window->pad_begin[1],
        .requant = &conv->requant,
    };
    int64_t begin, end;

    qd_share((int64_t)run->n_images * conv->s.out_h, thread, n_threads, &begin, &end);
    while (begin < end) {
        int64_t image = begin / conv->s.out_h, rows;

        params.y_begin = (int)(begin % conv->s.out_h);
        rows = end - begin < conv->s.out_h - params.y_begin ? end - begin : conv->s.out_h - params.y_begin;
        params.y_end = params.y_begin + (int)rows;
        params.in = run->inputs[0] + (size_t)image * run->input_pitch[0];
        params.out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0];
        params.residual = conv->residual < 0 ? NULL
                                             : run->inputs[conv->residual] +
                                                   (size_t)image * run->input_pitch[conv->residual];
        conv->kernels->depthwise(&params);
        begin += rows;
    }
}

void qd_conv_q8_run(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct conv_q8 *conv = run->prepared;

    if (conv->depthwise)
        run_depthwise(conv, run, thread, n_threads);
    else
        run_dense(conv, run, thread, n_threads);
}
