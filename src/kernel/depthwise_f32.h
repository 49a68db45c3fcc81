/*
 * The float depthwise convolution, vectorised over the columns of the output, for the vectors of the including file
 * (vector_*.h). Static inline only.
 */
#ifndef QD_KERNEL_DEPTHWISE_F32_H
#define QD_KERNEL_DEPTHWISE_F32_H

#include "kernel/activate_f32.h"
#include "kernel/fill_f32.h"
#include "kernel/tiers.h"

/* Outputs that are made together: chains enough to hide the latency of one fma behind the others'. */
#define STRIP_ROWS 4
#define STRIP_VECTORS 2

/* The window that is worth a form of its own, 0: none. 3 by 3 gains nothing, and neither does 5 by 5 in 16 registers.
 */
#define DENSE_SIZE (LANES == 16 ? 5 : 0)

struct strip {
    const float *plane; /* tap (0, 0) of the first output */
    ptrdiff_t row;      /* floats between the taps of one output row and the next */
    const ptrdiff_t *taps;
    int n_taps;
    bool dense;           /* DENSE_SIZE by DENSE_SIZE, its rows neighbours as the outputs' are */
    const float *weights; /* [n_taps] */
    float bias;
    float *out;
    int out_w, last; /* floats in the last vector */
};

static inline __attribute__((always_inline)) void store_strip(const struct strip *s, int rows, int vectors,
                                                              VECTOR sum[STRIP_ROWS][STRIP_VECTORS])
{
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < vectors - 1; j++)
            vector_store(s->out + (ptrdiff_t)i * s->out_w + j * LANES, sum[i][j]);
        vector_store_first(s->out + (ptrdiff_t)i * s->out_w + (vectors - 1) * LANES, sum[i][vectors - 1], s->last);
    }
}

static inline __attribute__((always_inline)) void run_strip(const struct strip *s, int rows, int vectors, int n_taps)
{
    VECTOR sum[STRIP_ROWS][STRIP_VECTORS];

    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            sum[i][j] = vector_all(s->bias);
    for (int t = 0; t < n_taps; t++) {
        const float *tap = s->plane + s->taps[t];
        VECTOR weight = vector_all(s->weights[t]);

        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vectors; j++)
                sum[i][j] = vector_fma(weight, vector_load(tap + i * s->row + j * LANES), sum[i][j]);
    }
    store_strip(s, rows, vectors, sum);
}

/*
 * The same of a window of size by size whose rows are neighbours, as the outputs' are: each row of the plane is loaded
 * once for all the outputs above it. An output still takes its taps by row, then by column.
 */
static inline __attribute__((always_inline)) void run_dense_strip(const struct strip *s, int rows, int vectors,
                                                                  int size)
{
    VECTOR sum[STRIP_ROWS][STRIP_VECTORS];

    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            sum[i][j] = vector_all(s->bias);
#pragma GCC unroll 8
    for (int r = 0; r < rows + size - 1; r++) {
#pragma GCC unroll 5
        for (int kx = 0; kx < size; kx++) {
            VECTOR in[STRIP_VECTORS];

            for (int j = 0; j < vectors; j++)
                in[j] = vector_load(s->plane + r * s->row + s->taps[kx] + j * LANES);
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < vectors && r - i >= 0 && r - i < size; j++)
                    sum[i][j] = vector_fma(vector_all(s->weights[(r - i) * size + kx]), in[j], sum[i][j]);
        }
    }
    store_strip(s, rows, vectors, sum);
}

/* The usual windows with their taps unrolled. */
static inline __attribute__((always_inline)) void choose_taps(const struct strip *s, int rows, int vectors)
{
    if (s->dense)
        run_dense_strip(s, rows, vectors, DENSE_SIZE);
    else if (s->n_taps == 9)
        run_strip(s, rows, vectors, 9);
    else if (s->n_taps == 25)
        run_strip(s, rows, vectors, 25);
    else
        run_strip(s, rows, vectors, s->n_taps);
}

static void run_strip_of(const struct strip *s, int rows, int vectors)
{
    if (rows == STRIP_ROWS && vectors == 2)
        choose_taps(s, STRIP_ROWS, 2);
    else if (rows == STRIP_ROWS)
        choose_taps(s, STRIP_ROWS, 1);
    else if (vectors == 2)
        choose_taps(s, 1, 2);
    else
        choose_taps(s, 1, 1);
}

/* rows output rows, 1 or STRIP_ROWS, from first's on. */
static void run_rows(const struct strip *first, int rows)
{
    struct strip s = *first;

    for (int x = 0; x < s.out_w; x += STRIP_VECTORS * LANES) {
        int n = s.out_w - x < STRIP_VECTORS * LANES ? s.out_w - x : STRIP_VECTORS * LANES;
        int vectors = (n + LANES - 1) / LANES;

        s.last = n - (vectors - 1) * LANES;
        run_strip_of(&s, rows, vectors);
        s.plane += STRIP_VECTORS * LANES;
        s.out += STRIP_VECTORS * LANES;
    }
}

/* One channel. The last rows are made twice rather than one by one. */
static void run_channel(const struct qd_conv_f32_params *p, const struct strip *channel)
{
    int rows = p->out_h >= STRIP_ROWS ? STRIP_ROWS : 1;

    for (int y = 0; y < p->out_h; y += rows) {
        struct strip s = *channel;

        y = p->out_h - y < rows ? p->out_h - rows : y;
        s.plane += y * s.row;
        s.out += (ptrdiff_t)y * p->out_w;
        run_rows(&s, rows);
    }
}

static inline void run_depthwise(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;
    struct qd_planes_f32 planes = qd_planes_f32_of(p);
    int n_taps = w->kernel_h * w->kernel_w;
    ptrdiff_t pixels = (ptrdiff_t)p->out_h * p->out_w;
    ptrdiff_t *taps = p->scratch;
    float *plane = (float *)(void *)(taps + n_taps);

    for (int t = 0; t < n_taps; t++)
        taps[t] = qd_planes_f32_tap(&planes, w, t / w->kernel_w, t % w->kernel_w);
    for (int c = 0; c < p->c; c++) {
        struct strip s = {.plane = plane,
                          .row = planes.row,
                          .taps = taps,
                          .n_taps = n_taps,
                          .dense = DENSE_SIZE && w->kernel_h == DENSE_SIZE && w->kernel_w == DENSE_SIZE &&
                                   w->stride_h == 1 && w->dilation_h == 1 && !planes.y.by_tap,
                          .weights = p->weights + (ptrdiff_t)c * n_taps,
                          .bias = p->bias ? p->bias[c] : 0,
                          .out = p->out + c * pixels,
                          .out_w = p->out_w};

        fill_plane(&planes, p, p->in + (ptrdiff_t)c * p->h * p->w, p->pad ? p->pad[c] : 0, plane);
        run_channel(p, &s);
        if (p->act)
            run_activate(p->act, p->residual ? p->residual + c * pixels : NULL, s.out, (size_t)pixels);
    }
}

#endif
