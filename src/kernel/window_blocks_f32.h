/*
 * The float depthwise convolution and the max pool on blocks of channels, for the vectors of the including file
 * (vector_*.h). Static inline only.
 *
 * Block by block and row by row. Where taps lie outside, each row of the input is copied once, with its padding, into a
 * ring of as many as a window is high; of a wide row only its ends are, and what is between is read where it lies.
 */
#ifndef QD_KERNEL_WINDOW_BLOCKS_F32_H
#define QD_KERNEL_WINDOW_BLOCKS_F32_H

#include <math.h>

#include "kernel/blocks_f32.h"
#include "kernel/strips_f32.h"

#define STRETCH 8        /* outputs of a row that are made together */
#define MAX_CONSTANT_W 5 /* the widest window that has a form of its own */

/* Some outputs of a row, one vector of a block. */
struct stretch {
    const float **rows;                     /* by the window's row: the first tap of the first output */
    ptrdiff_t at;                           /* floats on from there */
    int kernel_h, kernel_w, step, dilation; /* step and dilation in pixels */
    const float *weights;                   /* [kernel_h * kernel_w][BLOCK] */
    VECTOR first;                           /* what a chain begins with */
    float *out;
    const struct qd_activation *clip; /* done on the registers; NULL: none, or it is done on what is stored */
};

/* Tap by tap: any window. */
static inline __attribute__((always_inline)) void add_any_row(const struct stretch *s, const float *row, const float *w,
                                                              int n, bool pool, VECTOR sums[STRETCH])
{
    for (int kx = 0; kx < s->kernel_w; kx++) {
        VECTOR weight = pool ? vector_all(0) : vector_load(w + kx * BLOCK);

        for (int i = 0; i < n; i++) {
            VECTOR x = vector_load(row + ((ptrdiff_t)i * s->step + (ptrdiff_t)kx * s->dilation) * BLOCK);

            sums[i] = pool ? vector_max(sums[i], x) : vector_fma(weight, x, sums[i]);
        }
    }
}

/*
 * Column by column of the input, each loaded once for all the outputs that it is under: an output still takes its taps
 * in their order.
 */
static inline __attribute__((always_inline)) void add_row_of(const float *row, const float *w, int n, int kernel_w,
                                                             int step, bool pool, VECTOR sums[STRETCH])
{
    VECTOR weights[MAX_CONSTANT_W];

#pragma GCC unroll 5
    for (int kx = 0; kx < kernel_w; kx++)
        weights[kx] = pool ? vector_all(0) : vector_load(w + kx * BLOCK);
#pragma GCC unroll 20
    for (int j = 0; j < (n - 1) * step + kernel_w; j++) {
        VECTOR x = vector_load(row + j * BLOCK);

#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            if (j - i * step >= 0 && j - i * step < kernel_w)
                sums[i] = pool ? vector_max(sums[i], x) : vector_fma(weights[j - i * step], x, sums[i]);
    }
}

/* kernel_w 0: any. */
static inline __attribute__((always_inline)) void run_stretch(const struct stretch *s, int n, int kernel_w, int step,
                                                              bool pool)
{
    VECTOR sums[STRETCH];

    for (int i = 0; i < n; i++)
        sums[i] = s->first;
    for (int ky = 0; ky < s->kernel_h; ky++) {
        const float *row = s->rows[ky] + s->at;
        const float *w = pool ? NULL : s->weights + (ptrdiff_t)ky * s->kernel_w * BLOCK;

        if (kernel_w)
            add_row_of(row, w, n, kernel_w, step, pool, sums);
        else
            add_any_row(s, row, w, n, pool, sums);
    }
    for (int i = 0; i < n && s->clip; i++)
        sums[i] = vector_min(vector_all(s->clip->max), vector_max(vector_all(s->clip->min), sums[i]));
    for (int i = 0; i < n; i++)
        vector_store(s->out + i * BLOCK, sums[i]);
}

/* The forms that have their window's width and stride as constants, and one for all others. */
#define STRETCH_FORM(name, n, kernel_w, step, pool)                                                                    \
    static void stretch_##name##_##n(const struct stretch *s)                                                          \
    {                                                                                                                  \
        run_stretch(s, n, kernel_w, step, pool);                                                                       \
    }
#define STRETCH_FORMS(name, kernel_w, step, pool)                                                                      \
    STRETCH_FORM(name, 1, kernel_w, step, pool)                                                                        \
    STRETCH_FORM(name, 2, kernel_w, step, pool)                                                                        \
    STRETCH_FORM(name, 3, kernel_w, step, pool)                                                                        \
    STRETCH_FORM(name, 4, kernel_w, step, pool)                                                                        \
    STRETCH_FORM(name, 5, kernel_w, step, pool)                                                                        \
    STRETCH_FORM(name, 6, kernel_w, step, pool)                                                                        \
    STRETCH_FORM(name, 7, kernel_w, step, pool)                                                                        \
    STRETCH_FORM(name, 8, kernel_w, step, pool)
#define STRETCH_ROW(name)                                                                                              \
    {                                                                                                                  \
        stretch_##name##_1, stretch_##name##_2, stretch_##name##_3, stretch_##name##_4, stretch_##name##_5,            \
            stretch_##name##_6, stretch_##name##_7, stretch_##name##_8                                                 \
    }
STRETCH_FORMS(dw, 0, 0, false)
STRETCH_FORMS(dw3, 3, 1, false)
STRETCH_FORMS(dw3s2, 3, 2, false)
STRETCH_FORMS(dw5, 5, 1, false)
STRETCH_FORMS(dw5s2, 5, 2, false)
STRETCH_FORMS(pool, 0, 0, true)
STRETCH_FORMS(pool2s2, 2, 2, true)
STRETCH_FORMS(pool3s2, 3, 2, true)

/* kernel_w 0: any; the first that fits is taken. */
static const struct stretch_form {
    bool pool;
    int kernel_w, step;
    void (*run[STRETCH])(const struct stretch *s); /* by outputs - 1 */
} stretch_forms[] = {
    {false, 3, 1, STRETCH_ROW(dw3)},   {false, 3, 2, STRETCH_ROW(dw3s2)},  {false, 5, 1, STRETCH_ROW(dw5)},
    {false, 5, 2, STRETCH_ROW(dw5s2)}, {true, 2, 2, STRETCH_ROW(pool2s2)}, {true, 3, 2, STRETCH_ROW(pool3s2)},
    {false, 0, 0, STRETCH_ROW(dw)},    {true, 0, 0, STRETCH_ROW(pool)},
};

static const struct stretch_form *find_form(const struct qd_window_f32 *w, bool pool)
{
    const struct stretch_form *form = stretch_forms;

    while (form->pool != pool ||
           (form->kernel_w && (form->kernel_w != w->kernel_w || form->step != w->stride_w || w->dilation_w != 1)))
        form++;
    return form;
}

/* The rows under one block's outputs: copied ones for outputs [0, inner) and [end, out_w), for others the picture's. */
struct ring {
    const float *in; /* the block */
    const float *pads;
    float *memory;    /* columns pixels a row; behind the ring a row of padding. NULL: no tap lies outside */
    int span, filled; /* rows [.., filled) are there, counted from the first of padding */
    ptrdiff_t columns;
    int inner, end;
    const float **copies, **rows; /* by the window's row; both have their columns counted from the first of padding, */
    ptrdiff_t shift;              /* but rows begins so many floats later */
};

/* Rows of few stretches are copied whole: their ends alone would be most of them. */
#define WIDE (4 * STRETCH)

static void begin_ring(const struct qd_conv_f32_params *p, struct ring *ring)
{
    const struct qd_window_f32 *w = &p->window;
    ptrdiff_t last = p->w - 1 + w->pad_left - (ptrdiff_t)(w->kernel_w - 1) * w->dilation_w;

    ring->span = (int)blocks_span(1, 1, w->kernel_h, w->dilation_h);
    ring->columns = blocks_span(p->out_w, w->stride_w, w->kernel_w, w->dilation_w);
    ring->shift = (ptrdiff_t)w->pad_left * BLOCK;
    ring->inner = ring->memory ? p->out_w : 0;
    ring->end = p->out_w;
    if (!ring->memory || p->out_w <= WIDE)
        return;
    ring->inner = (w->pad_left + w->stride_w - 1) / w->stride_w;
    ring->end = last < 0 ? 0 : last / w->stride_w + 1 < p->out_w ? (int)(last / w->stride_w) + 1 : p->out_w;
    if (ring->inner >= ring->end)
        ring->inner = ring->end = p->out_w;
    for (ptrdiff_t x = 0; x < ring->columns; x++)
        memcpy(ring->memory + (ring->span * ring->columns + x) * BLOCK, ring->pads, BLOCK * sizeof(float));
}

/* Row i of the input, counted from the first of padding, as far as outputs read its copy. */
static void copy_ends(const struct qd_conv_f32_params *p, const struct ring *ring, int i)
{
    const struct qd_window_f32 *w = &p->window;
    int in_y = i - w->pad_top;
    const float *in = in_y >= 0 && in_y < p->h ? ring->in + (ptrdiff_t)in_y * p->w * BLOCK : NULL;
    float *copy = ring->memory + i % ring->span * ring->columns * BLOCK;
    ptrdiff_t left = ring->inner ? blocks_span(ring->inner, w->stride_w, w->kernel_w, w->dilation_w) : 0;
    ptrdiff_t right = (ptrdiff_t)ring->end * w->stride_w, skipped = right - w->pad_left;

    blocks_copy_row(in, p->w, BLOCK, w->pad_left, left, ring->pads, copy);
    if (ring->end == p->out_w)
        return;
    blocks_copy_row(in && skipped < p->w ? in + skipped * BLOCK : NULL, (int)(p->w - skipped), BLOCK, 0,
                    ring->columns - right, ring->pads, copy + right * BLOCK);
}

static void find_rows(const struct qd_conv_f32_params *p, struct ring *ring, int y)
{
    const struct qd_window_f32 *w = &p->window;
    int first = y * w->stride_h;

    for (int i = ring->filled > first ? ring->filled : first; i < first + ring->span && ring->memory; i++)
        copy_ends(p, ring, i);
    ring->filled = first + ring->span;
    for (int ky = 0; ky < w->kernel_h; ky++) {
        int i = first + ky * w->dilation_h, in_y = i - w->pad_top;

        ring->rows[ky] = in_y >= 0 && in_y < p->h ? ring->in + (ptrdiff_t)in_y * p->w * BLOCK
                                                  : ring->memory + (ring->span * ring->columns) * BLOCK;
        ring->copies[ky] = ring->memory ? ring->memory + i % ring->span * ring->columns * BLOCK : NULL;
    }
}

/* Outputs [begin, end) of one row of a block. at: where output 0's first tap lies in the rows. */
static inline void run_stretches(struct stretch *s, const struct stretch_form *form, float *out, int begin, int end,
                                 ptrdiff_t at)
{
    for (int x = begin, n; x < end; x += n) {
        int left = end - x, pieces = (left + STRETCH - 1) / STRETCH;

        n = (left + pieces - 1) / pieces;
        s->at = (ptrdiff_t)x * s->step * BLOCK + at;
        s->out = out + (ptrdiff_t)x * BLOCK;
        form->run[n - 1](s);
    }
}

static void run_block_row(const struct stretch *row, const struct stretch_form *form, const struct ring *ring,
                          int out_w, const float *first)
{
    for (int v = 0; v < BLOCK_VECTORS; v++) {
        struct stretch s = *row;
        float *out;

        s.first = first ? vector_load(first + v * LANES) : vector_all(form->pool ? -INFINITY : 0);
        s.weights += v * LANES;
        out = row->out + v * LANES;
        s.rows = ring->rows;
        run_stretches(&s, form, out, ring->inner, ring->end, v * LANES - ring->shift);
        s.rows = ring->copies;
        run_stretches(&s, form, out, 0, ring->inner, v * LANES);
        run_stretches(&s, form, out, ring->end, out_w, v * LANES);
    }
}

static inline void run_window_blocks(const struct qd_conv_f32_params *p, bool pool)
{
    const struct qd_window_f32 *w = &p->window;
    const struct stretch_form *form = find_form(w, pool);
    float *memory = (float *)p->scratch + qd_window_blocks_f32_rows(p), pads[BLOCK];
    ptrdiff_t pixels = (ptrdiff_t)p->out_h * p->out_w, taps = (ptrdiff_t)w->kernel_h * w->kernel_w;
    bool padded = blocks_need_padding(p);
    struct stretch s = {.kernel_h = w->kernel_h,
                        .kernel_w = w->kernel_w,
                        .step = w->stride_w,
                        .dilation = w->dilation_w,
                        .clip = !pool && p->act && p->act->kind == QD_ACT_CLIP && !p->residual ? p->act : NULL};

    for (int c = 0; c < p->c; c += BLOCK) {
        struct ring ring = {.in = p->in + (ptrdiff_t)c * p->h * p->w,
                            .pads = pads,
                            .memory = padded ? memory : NULL,
                            .rows = p->scratch,
                            .copies = (const float **)p->scratch + w->kernel_h};

        blocks_pads(p, c, BLOCK, pads);
        for (int i = 0; i < BLOCK && pool; i++)
            pads[i] = -INFINITY;
        begin_ring(p, &ring);
        s.weights = pool ? pads : p->weights + c * taps;
        for (int y = 0; y < p->out_h; y++) {
            ptrdiff_t at = c * pixels + (ptrdiff_t)y * p->out_w * BLOCK;

            find_rows(p, &ring, y);
            s.out = p->out + at;
            run_block_row(&s, form, &ring, p->out_w, !pool && p->bias ? p->bias + c : NULL);
            if (p->act && !pool && !s.clip)
                run_activate(p->act, p->residual ? p->residual + at : NULL, s.out, (size_t)p->out_w * BLOCK);
        }
    }
}

#endif
