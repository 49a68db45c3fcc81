/*
 * The float convolution, vectorised over output pixels, for the vectors of the including file (vector_*.h). Static
 * inline only.
 *
 * k is taken in blocks of whole channels, so that a panel of the column matrix (a block's taps under TILE_VECTORS
 * vectors of pixels) stays in the cache while all weights pass by. Between blocks the sums wait in the output: the
 * chain of fma goes on where it stopped.
 */
#ifndef QD_KERNEL_CONV_F32_H
#define QD_KERNEL_CONV_F32_H

#include "kernel/activate_f32.h"
#include "kernel/fill_f32.h"
#include "kernel/tiers.h"

#define PANEL (TILE_VECTORS * LANES)

/* A product's operands for one block of k. */
struct tile {
    int k;
    const float *a; /* weights of the first row */
    ptrdiff_t a_row;
    const float *b; /* [k][vectors * LANES], b_row apart */
    ptrdiff_t b_row;
    const float *bias; /* of the first row, NULL: 0 */
    bool goes_on;      /* the sums so far are in c */
    float *c;
    ptrdiff_t c_row;
    int last; /* floats in the last vector */
};

static inline __attribute__((always_inline)) void run_tile(const struct tile *t, int rows, int vectors)
{
    const float *a = t->a, *b = t->b;
    VECTOR sum[TILE_ROWS][TILE_VECTORS];

    for (int i = 0; i < rows; i++) {
        const float *c = t->c + i * t->c_row;

        for (int j = 0; j < vectors; j++) {
            if (!t->goes_on)
                sum[i][j] = vector_all(t->bias ? t->bias[i] : 0);
            else if (j == vectors - 1)
                sum[i][j] = vector_load_first(c + j * LANES, t->last);
            else
                sum[i][j] = vector_load(c + j * LANES);
        }
    }
    for (int k = 0; k < t->k; k++, a++, b += t->b_row) {
        VECTOR row[TILE_VECTORS];

        for (int j = 0; j < vectors; j++)
            row[j] = vector_load(b + j * LANES);
        for (int i = 0; i < rows; i++) {
            VECTOR weight = vector_all(a[i * t->a_row]);

            for (int j = 0; j < vectors; j++)
                sum[i][j] = vector_fma(weight, row[j], sum[i][j]);
        }
    }
    for (int i = 0; i < rows; i++) {
        float *c = t->c + i * t->c_row;

        for (int j = 0; j < vectors - 1; j++)
            vector_store(c + j * LANES, sum[i][j]);
        vector_store_first(c + (vectors - 1) * LANES, sum[i][vectors - 1], t->last);
    }
}

#ifdef HALF
/* The same with half a vector as the last one, after up to TILE_VECTORS - 1 whole ones. */
static inline __attribute__((always_inline)) void run_half_tile(const struct tile *t, int rows, int vectors)
{
    const float *a = t->a, *b = t->b;
    VECTOR sum[TILE_ROWS][TILE_VECTORS];
    HALF half[TILE_ROWS];

    for (int i = 0; i < rows; i++) {
        const float *c = t->c + i * t->c_row;
        float bias = t->bias ? t->bias[i] : 0;

        for (int j = 0; j < vectors; j++)
            sum[i][j] = t->goes_on ? vector_load(c + j * LANES) : vector_all(bias);
        half[i] = t->goes_on ? half_load_first(c + vectors * LANES, t->last) : half_all(bias);
    }
    for (int k = 0; k < t->k; k++, a++, b += t->b_row) {
        VECTOR row[TILE_VECTORS];
        HALF half_row = half_load(b + vectors * LANES);

        for (int j = 0; j < vectors; j++)
            row[j] = vector_load(b + j * LANES);
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < vectors; j++)
                sum[i][j] = vector_fma(vector_all(a[i * t->a_row]), row[j], sum[i][j]);
            half[i] = half_fma(half_all(a[i * t->a_row]), half_row, half[i]);
        }
    }
    for (int i = 0; i < rows; i++) {
        float *c = t->c + i * t->c_row;

        for (int j = 0; j < vectors; j++)
            vector_store(c + j * LANES, sum[i][j]);
        half_store_first(c + vectors * LANES, half[i], t->last);
    }
}

#define HALF_TILE(rows, vectors)                                                                                       \
    static void half_tile_##rows##_##vectors(const struct tile *t)                                                     \
    {                                                                                                                  \
        run_half_tile(t, rows, vectors - 1);                                                                           \
    }
#define HALF_TILES(rows) HALF_TILE(rows, 1) HALF_TILE(rows, 2) HALF_TILE(rows, 3)
#define TILE_ROW(rows)                                                                                                 \
    {                                                                                                                  \
        {tile_##rows##_1, tile_##rows##_2, tile_##rows##_3},                                                           \
        {                                                                                                              \
            half_tile_##rows##_1, half_tile_##rows##_2, half_tile_##rows##_3                                           \
        }                                                                                                              \
    }
#define HALF_LANES (LANES / 2)
#else
#define HALF_TILES(rows)
#define TILE_ROW(rows)                                                                                                 \
    {                                                                                                                  \
        {                                                                                                              \
            tile_##rows##_1, tile_##rows##_2, tile_##rows##_3                                                          \
        }                                                                                                              \
    }
#define HALF_LANES 0
#endif

#define TILE(rows, vectors)                                                                                            \
    static void tile_##rows##_##vectors(const struct tile *t)                                                          \
    {                                                                                                                  \
        run_tile(t, rows, vectors);                                                                                    \
    }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) TILE(rows, 3) HALF_TILES(rows)
TILES(1)
TILES(2)
TILES(3)
TILES(4)
#if TILE_ROWS == 8
TILES(5)
TILES(6)
TILES(7)
TILES(8)
#endif

/* By rows - 1, whether the last vector is half a one, and vectors - 1. */
static void (*const tiles[TILE_ROWS][2][TILE_VECTORS])(const struct tile *t) = {
    TILE_ROW(1), TILE_ROW(2), TILE_ROW(3), TILE_ROW(4),
#if TILE_ROWS == 8
    TILE_ROW(5), TILE_ROW(6), TILE_ROW(7), TILE_ROW(8),
#endif
};

/*
 * How a row of a panel is copied together: whole vectors, the last of each output row with up to LANES - 1 floats too
 * many, which the next one overwrites.
 */
struct pixels {
    int n_copies;
    struct {
        ptrdiff_t to, from; /* in the panel's row; in a plane, at tap (0, 0) */
    } copies[PANEL];
};

static void find_pixels(const struct qd_conv_f32_params *p, const struct qd_planes_f32 *planes, int first, int n,
                        struct pixels *ret)
{
    int y = first / p->out_w, x = first % p->out_w;

    ret->n_copies = 0;
    for (int at = 0; at < n; x = 0, y++) {
        int length = p->out_w - x < n - at ? p->out_w - x : n - at;

        for (int i = 0; i < length; i += LANES, ret->n_copies++) {
            ret->copies[ret->n_copies].to = at + i;
            ret->copies[ret->n_copies].from = y * planes->row + x + i;
        }
        at += length;
    }
}

static inline void pack_row(const struct pixels *pixels, const float *plane, float *row)
{
    for (int i = 0; i < pixels->n_copies; i++)
        vector_store(row + pixels->copies[i].to, vector_load(plane + pixels->copies[i].from));
}

/* The panel of n_c channels whose planes begin at planes_data. */
static void pack_panel(const struct qd_conv_f32_params *p, const struct qd_planes_f32 *planes, const float *planes_data,
                       int n_c, const struct pixels *pixels, float *panel)
{
    for (int c = 0; c < n_c; c++)
        for (int ky = 0; ky < p->window.kernel_h; ky++)
            for (int kx = 0; kx < p->window.kernel_w; kx++, panel += PANEL)
                pack_row(pixels, planes_data + c * planes->channel + qd_planes_f32_tap(planes, &p->window, ky, kx),
                         panel);
}

/* The same of a pointwise convolution, from the input itself. */
static void pack_pointwise(const float *in, ptrdiff_t channel, int n_c, int n, float *panel)
{
    int whole = n / LANES, rest = n % LANES;

    for (int c = 0; c < n_c; c++, in += channel, panel += PANEL) {
        for (int i = 0; i < whole; i++)
            vector_store(panel + i * LANES, vector_load(in + i * LANES));
        if (rest)
            vector_store(panel + whole * LANES, vector_load_first(in + whole * LANES, rest));
    }
}

/* Panels that wait in the cache together, so that rows of the output are written in longer pieces where k is short. */
struct panels {
    int first, n_pixels, n;
    struct {
        int n, vectors, half; /* half: 1 where half a vector is enough for the last */
    } each[QD_F32_MAX_PANELS];
};

/* What follows the sums of rows [o, o + rows), while they are in the cache. */
static void finish_rows(const struct qd_conv_f32_params *p, const struct panels *panels, int o, int rows)
{
    ptrdiff_t pixels = (ptrdiff_t)p->out_h * p->out_w;

    for (ptrdiff_t at = o * pixels + panels->first; rows > 0; rows--, at += pixels)
        run_activate(p->act, p->residual ? p->residual + at : NULL, p->out + at, (size_t)panels->n_pixels);
}

/* All rows of the output under the panels. last: no more of k follows. */
static void run_panels(const struct qd_conv_f32_params *p, const struct tile *first, const struct panels *panels,
                       bool last)
{
    struct tile t = *first;

    for (int o = 0; o < p->n; o += TILE_ROWS) {
        int rows = p->n - o < TILE_ROWS ? p->n - o : TILE_ROWS;

        t.b = first->b;
        t.c = p->out + o * t.c_row + panels->first;
        for (int i = 0; i < panels->n; i++) {
            t.last = panels->each[i].n - (panels->each[i].vectors - 1) * LANES;
            tiles[rows - 1][panels->each[i].half][panels->each[i].vectors - 1](&t);
            t.b += t.k * PANEL;
            t.c += panels->each[i].n;
        }
        if (p->act && last)
            finish_rows(p, panels, o, rows);
        t.a += TILE_ROWS * t.a_row;
        if (t.bias)
            t.bias += TILE_ROWS;
    }
}

/* Vectors of the next panel: as even as can be, so that none of one vector is left over where two could share. */
static inline int next_vectors(int left)
{
    return left == TILE_VECTORS + 1 ? (left + 1) / 2 : left < TILE_VECTORS ? left : TILE_VECTORS;
}

/* Packs panels from pixel first on, as many as may wait together. */
static void pack_panels(const struct qd_conv_f32_params *p, const struct qd_planes_f32 *planes, int c, int n_c,
                        int first, struct panels *ret)
{
    int pixels = p->out_h * p->out_w, k = n_c * p->window.kernel_h * p->window.kernel_w;
    int limit = k > 0 ? QD_F32_PANELS / (k * PANEL) : 1;
    float *panel = p->scratch;
    const float *plane = panel + qd_planes_f32_panels(p);
    struct pixels at;

    limit = limit < 1 ? 1 : limit > QD_F32_MAX_PANELS ? QD_F32_MAX_PANELS : limit;
    ret->first = first;
    for (ret->n = 0; ret->n < limit && first < pixels; ret->n++, panel += k * PANEL) {
        int vectors = next_vectors((pixels - first + LANES - 1) / LANES);
        int n = pixels - first < vectors * LANES ? pixels - first : vectors * LANES;

        if (qd_planes_f32_pointwise(p)) {
            pack_pointwise(p->in + (ptrdiff_t)c * pixels + first, pixels, n_c, n, panel);
        } else {
            find_pixels(p, planes, first, n, &at);
            pack_panel(p, planes, plane, n_c, &at, panel);
        }
        ret->each[ret->n].n = n;
        ret->each[ret->n].vectors = vectors;
        ret->each[ret->n].half = n - (vectors - 1) * LANES <= HALF_LANES;
        first += n;
    }
    ret->n_pixels = first - ret->first;
}

/* Channels [c, c + n_c). */
static void run_block(const struct qd_conv_f32_params *p, const struct qd_planes_f32 *planes, int c, int n_c)
{
    int taps = p->window.kernel_h * p->window.kernel_w, pixels = p->out_h * p->out_w;
    float *plane = (float *)p->scratch + qd_planes_f32_panels(p);
    struct tile t = {.k = n_c * taps,
                     .a = p->weights + (ptrdiff_t)c * taps,
                     .a_row = (ptrdiff_t)p->c * taps,
                     .b = p->scratch,
                     .b_row = PANEL,
                     .bias = p->bias,
                     .goes_on = c > 0,
                     .c_row = pixels};
    struct panels panels;

    for (int i = 0; i < n_c && !qd_planes_f32_pointwise(p); i++)
        fill_plane(planes, p, p->in + (ptrdiff_t)(c + i) * p->h * p->w, p->pad ? p->pad[c + i] : 0,
                   plane + i * planes->channel);
    for (int first = 0; first < pixels; first += panels.n_pixels) {
        pack_panels(p, planes, c, n_c, first, &panels);
        run_panels(p, &t, &panels, c + n_c == p->c);
    }
}

static inline void run_conv(const struct qd_conv_f32_params *p)
{
    struct qd_planes_f32 planes = qd_planes_f32_of(p);
    int step = qd_planes_f32_block(p);

    int c = 0;

    do {
        run_block(p, &planes, c, p->c - c < step ? p->c - c : step);
        c += step;
    } while (c < p->c);
}

#endif
