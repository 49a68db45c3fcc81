/*
 * The float convolution on blocks of channels, for the vectors of the including file (vector_*.h). Static inline only.
 *
 * A vector is neighbouring channels of the output: a tile is some pixels of a row under some blocks, its sums in
 * registers, and an input is one float for all of a vector. So the picture is read where it lies, and no lane is idle
 * however small it is. Where taps lie outside, a strip of rows is copied with its padding first.
 */
#ifndef QD_KERNEL_CONV_BLOCKS_F32_H
#define QD_KERNEL_CONV_BLOCKS_F32_H

#include "kernel/blocks_f32.h"
#include "kernel/strips_f32.h"

/* The sums, the weights of a tap and one input fit the registers. */
#if LANES == 16
#define PIXELS 8
#define BLOCKS 3
#elif LANES == 8
#define PIXELS 6
#define BLOCKS 1
#else
#define PIXELS 1
#define BLOCKS 1
#endif

/* Channels [begin, end) of a convolution under one tile. */
struct block_tile {
    const float *in; /* tap 0 of the first pixel, channel 0 */
    ptrdiff_t step;  /* floats from pixel to pixel */
    ptrdiff_t block; /* floats from one block of channels to the next */
    int lanes;       /* channels that lie side by side: BLOCK, or 1 in planes */
    int begin, end;
    const ptrdiff_t *taps;
    int n_taps;
    const float *weights; /* of channel begin */
    ptrdiff_t weights_block;
    const float *bias; /* NULL: 0 */
    float *out;
    ptrdiff_t out_block;
    const float *residual; /* as out, or NULL */
    const struct qd_activation *act;
    bool last; /* end is the last channel: what follows the sums is done */
};

typedef VECTOR block_sums[PIXELS][BLOCKS * BLOCK_VECTORS];

static inline __attribute__((always_inline)) void add_block_tap(const float *a, ptrdiff_t step, const float *w,
                                                                ptrdiff_t weights_block, int pixels, int blocks,
                                                                block_sums sums)
{
    const float *third[] = {a, a + 3 * step, a + 6 * step};
    VECTOR weights[BLOCKS * BLOCK_VECTORS];

    for (int v = 0; v < blocks * BLOCK_VECTORS; v++)
        weights[v] = vector_load(w + v / BLOCK_VECTORS * weights_block + v % BLOCK_VECTORS * LANES);
    for (int i = 0; i < pixels; i++) {
        VECTOR x = vector_all(third[i / 3][i % 3 * step]);

        for (int v = 0; v < blocks * BLOCK_VECTORS; v++)
            sums[i][v] = vector_fma(weights[v], x, sums[i][v]);
    }
}

static inline __attribute__((always_inline)) void begin_block_sums(const struct block_tile *t, int pixels, int blocks,
                                                                   block_sums sums)
{
    for (int v = 0; v < blocks * BLOCK_VECTORS; v++) {
        const float *out = t->out + v / BLOCK_VECTORS * t->out_block + v % BLOCK_VECTORS * LANES;

        for (int i = 0; i < pixels; i++)
            sums[i][v] = t->begin  ? vector_load(out + i * BLOCK)
                         : t->bias ? vector_load(t->bias + v * LANES)
                                   : vector_all(0);
    }
}

/* Clipping is done on the registers, other activations on what is stored. */
static inline __attribute__((always_inline)) void end_block_sums(const struct block_tile *t, int pixels, int blocks,
                                                                 block_sums sums)
{
    bool clips = t->last && t->act && t->act->kind == QD_ACT_CLIP;

    if (clips) {
        VECTOR low = vector_all(t->act->min), high = vector_all(t->act->max);

        for (int v = 0; v < blocks * BLOCK_VECTORS && t->residual; v++)
            for (int i = 0; i < pixels; i++)
                sums[i][v] = vector_add(sums[i][v], vector_load(t->residual + v / BLOCK_VECTORS * t->out_block +
                                                                v % BLOCK_VECTORS * LANES + i * BLOCK));
        for (int i = 0; i < pixels; i++)
            for (int v = 0; v < blocks * BLOCK_VECTORS; v++)
                sums[i][v] = vector_min(high, vector_max(low, sums[i][v]));
    }
    for (int v = 0; v < blocks * BLOCK_VECTORS; v++) {
        float *out = t->out + v / BLOCK_VECTORS * t->out_block + v % BLOCK_VECTORS * LANES;

        for (int i = 0; i < pixels; i++)
            vector_store(out + i * BLOCK, sums[i][v]);
    }
    for (int b = 0; b < blocks && t->last && t->act && !clips; b++)
        run_activate(t->act, t->residual ? t->residual + b * t->out_block : NULL, t->out + b * t->out_block,
                     (size_t)pixels * BLOCK);
}

static inline __attribute__((always_inline)) void run_block_tile(const struct block_tile *t, int pixels, int blocks)
{
    const float *w = t->weights;
    ptrdiff_t step = t->step, weights_block = t->weights_block;
    block_sums sums;

    begin_block_sums(t, pixels, blocks, sums);
    for (int c = t->begin; c < t->end;) {
        const float *in = t->in + c / t->lanes * t->block;
        int lanes = t->end - c < t->lanes ? t->end - c : t->lanes;

        c += lanes;
        if (t->n_taps == 1) {
            in += t->taps[0];
            for (const float *end = in + lanes; in < end; in++, w += BLOCK)
                add_block_tap(in, step, w, weights_block, pixels, blocks, sums);
            continue;
        }
        for (int i = 0; i < lanes; i++, in++)
            for (const ptrdiff_t *tap = t->taps, *end = tap + t->n_taps; tap < end; tap++, w += BLOCK)
                add_block_tap(in + *tap, step, w, weights_block, pixels, blocks, sums);
    }
    end_block_sums(t, pixels, blocks, sums);
}

#define BLOCK_TILE(pixels, blocks)                                                                                     \
    static void block_tile_##pixels##_##blocks(const struct block_tile *t)                                             \
    {                                                                                                                  \
        run_block_tile(t, pixels, blocks);                                                                             \
    }
#if BLOCKS == 3
#define BLOCK_TILES(pixels) BLOCK_TILE(pixels, 1) BLOCK_TILE(pixels, 2) BLOCK_TILE(pixels, 3)
#define BLOCK_TILE_ROW(pixels)                                                                                         \
    {                                                                                                                  \
        block_tile_##pixels##_1, block_tile_##pixels##_2, block_tile_##pixels##_3                                      \
    }
#else
#define BLOCK_TILES(pixels) BLOCK_TILE(pixels, 1)
#define BLOCK_TILE_ROW(pixels)                                                                                         \
    {                                                                                                                  \
        block_tile_##pixels##_1                                                                                        \
    }
#endif
BLOCK_TILES(1)
#if PIXELS > 1
BLOCK_TILES(2)
BLOCK_TILES(3)
BLOCK_TILES(4)
BLOCK_TILES(5)
BLOCK_TILES(6)
#endif
#if PIXELS > 6
BLOCK_TILES(7)
BLOCK_TILES(8)
#endif

/* By pixels - 1 and blocks - 1. */
static void (*const block_tiles[PIXELS][BLOCKS])(const struct block_tile *t) = {
    BLOCK_TILE_ROW(1),
#if PIXELS > 1
    BLOCK_TILE_ROW(2), BLOCK_TILE_ROW(3), BLOCK_TILE_ROW(4), BLOCK_TILE_ROW(5), BLOCK_TILE_ROW(6),
#endif
#if PIXELS > 6
    BLOCK_TILE_ROW(7), BLOCK_TILE_ROW(8),
#endif
};

/* Tiles as even as can be: a share of left for the next one. */
static inline int next_share(int left, int most)
{
    int n = (left + most - 1) / most;

    return (left + n - 1) / n;
}

/* A piece of the input, with all taps of its rows of outputs in it. */
struct strip_in {
    const float *data; /* tap 0 of the first output, channel 0 */
    ptrdiff_t row, block;
    int lanes;
    const ptrdiff_t *taps;
};

/* Output rows [y, y + rows) of a picture that is out_w wide, under blocks of outputs from block b on. */
static void run_block_rows(const struct qd_conv_f32_params *p, const struct strip_in *in, int y, int rows, int out_w,
                           int b, int blocks, int begin, int end)
{
    ptrdiff_t pixels = (ptrdiff_t)p->out_h * p->out_w, k = (ptrdiff_t)p->c * p->window.kernel_h * p->window.kernel_w;
    struct block_tile t = {.step = (ptrdiff_t)p->window.stride_w * in->lanes,
                           .block = in->block,
                           .lanes = in->lanes,
                           .begin = begin,
                           .end = end,
                           .taps = in->taps,
                           .n_taps = p->window.kernel_h * p->window.kernel_w,
                           .weights_block = k * BLOCK,
                           .bias = p->bias ? p->bias + b * BLOCK : NULL,
                           .out_block = pixels * BLOCK,
                           .act = p->act,
                           .last = end == p->c};

    t.weights = p->weights + b * t.weights_block + (ptrdiff_t)begin * t.n_taps * BLOCK;
    for (int i = 0; i < rows; i++) {
        ptrdiff_t at = b * t.out_block + (ptrdiff_t)(y + i) * out_w * BLOCK;

        t.in = in->data + i * p->window.stride_h * in->row;
        for (int x = 0, n; x < out_w; x += n, at += n * BLOCK, t.in += n * t.step) {
            n = next_share(out_w - x, PIXELS);
            t.out = p->out + at;
            t.residual = p->residual ? p->residual + at : NULL;
            block_tiles[n - 1][blocks - 1](&t);
        }
    }
}

/* All outputs of some rows. Weights of some blocks and channels stay in the cache while the pixels pass by. */
static void run_strip_blocks(const struct qd_conv_f32_params *p, const struct strip_in *in, int y, int rows, int out_w)
{
    int n_blocks = (p->n + BLOCK - 1) / BLOCK, taps = p->window.kernel_h * p->window.kernel_w;
    int step = QD_F32_SLAB / taps / BLOCK * BLOCK;

    step = step < BLOCK ? BLOCK : step;
    for (int b = 0, blocks; b < n_blocks; b += blocks) {
        int begin = 0;

        blocks = next_share(n_blocks - b, BLOCKS);
        do {
            int end = p->c - begin < step ? p->c : begin + step;

            run_block_rows(p, in, y, rows, out_w, b, blocks, begin, end);
            begin = end;
        } while (begin < p->c);
    }
}

/* The input rows under output rows [y, y + rows) with padding around them. */
static void copy_strip(const struct qd_conv_f32_params *p, const struct qd_strip_f32 *s, int y, int rows, float *strip)
{
    const struct qd_window_f32 *w = &p->window;
    int n_rows = (int)blocks_span(rows, w->stride_h, w->kernel_h, w->dilation_h);

    for (int c = 0; c < p->c; c += s->lanes, strip += s->block) {
        const float *in = p->in + (ptrdiff_t)c * p->h * p->w;
        float pads[BLOCK];

        blocks_pads(p, c, s->lanes, pads);
        for (int i = 0; i < n_rows; i++) {
            int in_y = y * w->stride_h - w->pad_top + i;

            blocks_copy_row(in_y >= 0 && in_y < p->h ? in + (ptrdiff_t)in_y * p->w * s->lanes : NULL, p->w, s->lanes,
                            w->pad_left, s->columns, pads, strip + i * s->row);
        }
    }
}

static inline void run_conv_blocks(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;
    struct qd_strip_f32 s = qd_strip_f32_of(p);
    ptrdiff_t *taps = p->scratch;
    float *strip = (float *)p->scratch + qd_strip_f32_taps(p);
    struct strip_in in = {.data = p->in, .row = (ptrdiff_t)p->w * s.lanes, .lanes = s.lanes, .taps = taps};
    bool padded = blocks_need_padding(p);

    in.block = (ptrdiff_t)p->h * in.row;
    if (padded) {
        in.row = s.row;
        in.block = s.block;
    }
    for (int t = 0; t < w->kernel_h * w->kernel_w; t++)
        taps[t] = t / w->kernel_w * w->dilation_h * in.row + t % w->kernel_w * w->dilation_w * s.lanes;
    if (!padded && w->kernel_h * w->kernel_w == 1 && w->stride_h == 1 && w->stride_w == 1 && p->out_w == p->w) {
        run_strip_blocks(p, &in, 0, 1, p->out_h * p->out_w);
        return;
    }
    for (int y = 0; y < p->out_h; y += s.rows) {
        int rows = p->out_h - y < s.rows ? p->out_h - y : s.rows;

        in.data = p->in + (ptrdiff_t)y * w->stride_h * in.row;
        if (padded) {
            copy_strip(p, &s, y, rows, strip);
            in.data = strip;
        }
        run_strip_blocks(p, &in, y, rows, p->out_w);
    }
}

#endif
