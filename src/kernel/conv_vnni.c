/*
 * The convolution with AVX-512 VNNI: vpdpbusd takes four steps of k at a time, bytes as they are, straight from the
 * tensor.
 *
 * Pixels are taken in pieces, up to seven neighbours of one row (the sides of pictures are multiples of seven more
 * often than of anything else). Two whole pieces by 32 columns of sums fill 28 of the 32 registers, and one call works
 * through as many such blocks as follow each other in the row. The sums become bytes right there, or, where pixels or
 * activations are the rarer ones, through a small buffer.
 *
 * Packed weights: panels of 32 columns, each [n_runs][run_k/4][vectors][16][4] s8 where vectors is 2, or 1 in a last
 * panel of at most 16 columns; each run rounded up to a multiple of 4 with zeros, so that what is read past it meets
 * zeros. conv_amx.c reads these panels too.
 */
#include "kernel/tiers.h"

#include <string.h>

#include "kernel/multiply_vnni.h"
#include "kernel/pixels.h"

#define BLOCK (64 * PIECE) /* pixels that go through all panels before the next ones: they stay in L2 */
#define MAX_STRIPS 64
/* Panels of at most so many bytes take turns on strips of at most so many pixels. */
#define WEIGHTS_IN_L1 16384
#define MAX_PANELS 8
#define STRIP (8 * 2 * PIECE)

static int vectors_of(int n)
{
    return n > 16 ? 2 : 1;
}

size_t qd_conv_pack_size_vnni(int n, int n_runs, int run_k)
{
    return ((size_t)n + 15) / 16 * 64 * (size_t)quads(run_k) * (size_t)n_runs + QD_KERNEL_SLACK;
}

/* The panel that begins with column n0, a multiple of PANEL. */
static ptrdiff_t panel_offset(int n0, int n_runs, int run_k)
{
    return (ptrdiff_t)n0 * 4 * quads(run_k) * n_runs;
}

void qd_conv_pack_vnni(void *packed, const int8_t *w, int n, int n_runs, int run_k)
{
    int8_t *out = packed;

    memset(packed, 0, qd_conv_pack_size_vnni(n, n_runs, run_k));
    for (int j = 0; j < n; j++) {
        int n0 = j / PANEL * PANEL;
        ptrdiff_t step = (ptrdiff_t)vectors_of(n - n0) * 64;
        int8_t *panel = out + panel_offset(n0, n_runs, run_k) + (ptrdiff_t)(j - n0) * 4;

        for (int r = 0; r < n_runs; r++, panel += quads(run_k) * step) {
            for (int i = 0; i < run_k; i++)
                panel[i / 4 * step + i % 4] = *w++;
        }
    }
}

typedef void multiply_function(const struct qd_conv_params *params, const struct qd_requant_vnni *q,
                               const struct block *block, int n0, const int8_t *weights, sums_row *sums);

#define MULTIPLY(name, m, vectors, finish, whole)                                                                      \
    static void multiply_##name##_##m##_##vectors##_##finish(                                                          \
        const struct qd_conv_params *params, const struct qd_requant_vnni *q, const struct block *block, int n0,       \
        const int8_t *weights, sums_row *sums)                                                                         \
    {                                                                                                                  \
        multiply(params, q, block, n0, weights, sums, m, vectors, finish, whole);                                      \
    }
#define MULTIPLY_EACH(vectors, finish)                                                                                 \
    MULTIPLY(whole, 1, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 2, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 3, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 4, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 5, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 6, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 7, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 8, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 9, vectors, finish, true)                                                                          \
    MULTIPLY(whole, 10, vectors, finish, true)                                                                         \
    MULTIPLY(whole, 11, vectors, finish, true)                                                                         \
    MULTIPLY(whole, 12, vectors, finish, true)                                                                         \
    MULTIPLY(whole, 13, vectors, finish, true)                                                                         \
    MULTIPLY(whole, 14, vectors, finish, true)
#define MULTIPLY_PART(finish) MULTIPLY(part, 14, 1, finish, false) MULTIPLY(part, 14, 2, finish, false)
MULTIPLY_EACH(1, TO_SUMS)
MULTIPLY_EACH(2, TO_SUMS)
MULTIPLY_EACH(1, TO_BYTES)
MULTIPLY_EACH(2, TO_BYTES)
MULTIPLY_EACH(1, TO_BYTES_WITH_RESIDUAL)
MULTIPLY_EACH(2, TO_BYTES_WITH_RESIDUAL)
MULTIPLY(whole, 14, 1, TO_LEAKY, true)
MULTIPLY(whole, 14, 2, TO_LEAKY, true)
MULTIPLY(whole, 14, 1, TO_HARDSWISH, true)
MULTIPLY(whole, 14, 2, TO_HARDSWISH, true)
MULTIPLY(whole, 14, 1, TO_PIECEWISE, true)
MULTIPLY(whole, 14, 2, TO_PIECEWISE, true)
MULTIPLY_PART(TO_BYTES)
MULTIPLY_PART(TO_BYTES_WITH_RESIDUAL)
MULTIPLY_PART(TO_LEAKY)
MULTIPLY_PART(TO_HARDSWISH)
MULTIPLY_PART(TO_PIECEWISE)

#define EACH(vectors, finish)                                                                                          \
    {                                                                                                                  \
        multiply_whole_1_##vectors##_##finish, multiply_whole_2_##vectors##_##finish,                                  \
            multiply_whole_3_##vectors##_##finish, multiply_whole_4_##vectors##_##finish,                              \
            multiply_whole_5_##vectors##_##finish, multiply_whole_6_##vectors##_##finish,                              \
            multiply_whole_7_##vectors##_##finish, multiply_whole_8_##vectors##_##finish,                              \
            multiply_whole_9_##vectors##_##finish, multiply_whole_10_##vectors##_##finish,                             \
            multiply_whole_11_##vectors##_##finish, multiply_whole_12_##vectors##_##finish,                            \
            multiply_whole_13_##vectors##_##finish, multiply_whole_14_##vectors##_##finish                             \
    }
#define ONLY_14(name, finish)                                                                                          \
    {                                                                                                                  \
        {[13] = multiply_##name##_14_1_##finish},                                                                      \
        {                                                                                                              \
            [13] = multiply_##name##_14_2_##finish                                                                     \
        }                                                                                                              \
    }
/* By vectors - 1 and pixels - 1. */
static multiply_function *const to_sums[2][2 * PIECE] = {EACH(1, TO_SUMS), EACH(2, TO_SUMS)};
/*
 * The same by whether all columns of the vectors exist, and by finish. The branches that a tail of columns takes are
 * many. What is NULL is rare, and goes through the sums.
 */
static multiply_function *const to_bytes[2][N_FINISH][2][2 * PIECE] = {
    {[TO_BYTES] = ONLY_14(part, TO_BYTES),
     [TO_BYTES_WITH_RESIDUAL] = ONLY_14(part, TO_BYTES_WITH_RESIDUAL),
     [TO_LEAKY] = ONLY_14(part, TO_LEAKY),
     [TO_HARDSWISH] = ONLY_14(part, TO_HARDSWISH),
     [TO_PIECEWISE] = ONLY_14(part, TO_PIECEWISE)},
    {[TO_BYTES] = {EACH(1, TO_BYTES), EACH(2, TO_BYTES)},
     [TO_BYTES_WITH_RESIDUAL] = {EACH(1, TO_BYTES_WITH_RESIDUAL), EACH(2, TO_BYTES_WITH_RESIDUAL)},
     [TO_LEAKY] = ONLY_14(whole, TO_LEAKY),
     [TO_HARDSWISH] = ONLY_14(whole, TO_HARDSWISH),
     [TO_PIECEWISE] = ONLY_14(whole, TO_PIECEWISE)},
};

static void finish_row_f32(const struct qd_requant *requant, const int32_t *sums, int n0, int n, float *out)
{
    for (int j = 0; j < n; j += 16) {
        __mmask16 mask = qd_mask16_vnni(n - j);
        __m512 mult = _mm512_maskz_loadu_ps(mask, requant->mult + n0 + j);
        __m512 offset = _mm512_maskz_loadu_ps(mask, requant->offset + n0 + j);

        _mm512_mask_storeu_ps(out + j, mask,
                              _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + j)), mult, offset));
    }
}

/* The same in registers; the second half only where n > 16. */
struct column_vectors {
    __m512 mult[2], offset[2], slope[2];
};

ALWAYS_INLINE_VNNI void load_columns(const struct qd_requant *requant, int n0, int n, struct column_vectors *ret)
{
    for (int j = 0; j < 2; j++) {
        int at = n0 + (n > 16 ? 16 * j : 0);

        ret->mult[j] = _mm512_loadu_ps(requant->mult + at);
        ret->offset[j] = _mm512_loadu_ps(requant->offset + at);
        ret->slope[j] = _mm512_loadu_ps(requant->slope + at);
    }
}

/* The sums of a piece to bytes, two pixels at a time. */
ALWAYS_INLINE_VNNI void finish_bytes(const struct qd_conv_params *p, const struct qd_requant_vnni *all,
                                     const struct piece *piece, const sums_row *sums, int n0, int n,
                                     const enum qd_requant_act act, const bool residual)
{
    struct qd_requant_vnni q = *all;
    struct column_vectors columns;

    q.act = act;
    load_columns(p->requant, n0, n, &columns);
    for (int i = 0; i < piece->m; i += 2) {
        __m512i v[2][2], bytes = _mm512_setzero_si512();

        for (int j = 0; j < 2; j++) {
            int row = i + j < piece->m ? i + j : i;
            const uint8_t *b = residual ? piece->residual + row * p->residual_steps.x + n0 : NULL;

#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                if (half && n <= 16)
                    break;
                if (residual)
                    bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(b + 16 * half)));
                v[j][half] = qd_requant_ints_vnni(&q, _mm512_loadu_si512(sums[row] + 16 * half), columns.mult[half],
                                                  columns.offset[half], columns.slope[half], residual, bytes);
            }
            if (n <= 16)
                v[j][1] = v[j][0];
        }
        store_two(&q, v[0][0], v[0][1], v[1][0], v[1][1], piece->out + i * p->out_steps.x + n0,
                  i + 1 < piece->m ? piece->out + (i + 1) * p->out_steps.x + n0 : NULL, n);
    }
}

typedef void finish_function(const struct qd_conv_params *p, const struct qd_requant_vnni *q, const struct piece *piece,
                             const sums_row *sums, int n0, int n);

#define FINISH(name, act)                                                                                              \
    static void finish_##name(const struct qd_conv_params *p, const struct qd_requant_vnni *q,                         \
                              const struct piece *piece, const sums_row *sums, int n0, int n)                          \
    {                                                                                                                  \
        if (p->residual)                                                                                               \
            finish_bytes(p, q, piece, sums, n0, n, act, true);                                                         \
        else                                                                                                           \
            finish_bytes(p, q, piece, sums, n0, n, act, false);                                                        \
    }
FINISH(linear, QD_REQUANT_LINEAR)
FINISH(leaky, QD_REQUANT_LEAKY)
FINISH(hardswish, QD_REQUANT_HARDSWISH)
FINISH(piecewise, QD_REQUANT_PIECEWISE)
FINISH(piecewise_steps, QD_REQUANT_PIECEWISE_STEPS)

static void finish_f32(const struct qd_conv_params *p, const struct qd_requant_vnni *q, const struct piece *piece,
                       const sums_row *sums, int n0, int n)
{
    (void)q;
    for (int i = 0; i < piece->m; i++)
        finish_row_f32(p->requant, sums[i], n0, n, p->out_f32 + (ptrdiff_t)(piece->first + i) * p->n + n0);
}

/* Where the multiplication itself leaves bytes; what it has no such form for goes through the sums. */
static enum finish finish_of(const struct qd_conv_params *p)
{
    static const enum finish by_act[] = {[QD_REQUANT_LINEAR] = TO_BYTES,
                                         [QD_REQUANT_LEAKY] = TO_LEAKY,
                                         [QD_REQUANT_HARDSWISH] = TO_HARDSWISH,
                                         [QD_REQUANT_PIECEWISE] = TO_PIECEWISE,
                                         [QD_REQUANT_PIECEWISE_STEPS] = TO_SUMS};

    if (!p->out)
        return TO_SUMS;
    if (p->residual)
        return p->requant->act == QD_REQUANT_LINEAR ? TO_BYTES_WITH_RESIDUAL : TO_SUMS;
    return by_act[p->requant->act];
}

/* From the sums on. */
static finish_function *finish_function_of(const struct qd_conv_params *p)
{
    static finish_function *const by_act[] = {[QD_REQUANT_LINEAR] = finish_linear,
                                              [QD_REQUANT_LEAKY] = finish_leaky,
                                              [QD_REQUANT_HARDSWISH] = finish_hardswish,
                                              [QD_REQUANT_PIECEWISE] = finish_piecewise,
                                              [QD_REQUANT_PIECEWISE_STEPS] = finish_piecewise_steps};

    return p->out ? by_act[p->requant->act] : finish_f32;
}

/* Neighbouring pixels of one row, any number of them, and which runs are not left out there. */
struct strip {
    struct piece piece;
    int run_begin, run_end;
};

/* At most limit pixels of the row, from the call's pixel number `first`; the pixel moves behind them. */
static struct strip take_strip(const struct qd_conv_params *p, struct qd_pixel *pixel, int first, int limit)
{
    int m = p->out_w - pixel->x < p->m - first ? p->out_w - pixel->x : p->m - first;
    struct strip strip = {{.m = m < limit ? m : limit, .first = first}, .run_end = p->n_runs};

    strip.piece.in = p->in + qd_pixel_offset(&p->in_steps, *pixel);
    if (p->out)
        strip.piece.out = p->out + qd_pixel_offset(&p->out_steps, *pixel);
    if (p->residual)
        strip.piece.residual = p->residual + qd_pixel_offset(&p->residual_steps, *pixel);
    if (p->run_rows) {
        while (strip.run_begin < strip.run_end && p->run_rows[strip.run_begin].begin > pixel->y)
            strip.run_begin++;
        while (strip.run_end > strip.run_begin && p->run_rows[strip.run_end - 1].end <= pixel->y)
            strip.run_end--;
    }
    pixel->x += strip.piece.m - 1;
    qd_pixel_next(p, pixel);
    return strip;
}

/* A panel of columns, for any number of blocks. */
struct panel {
    const struct qd_conv_params *params;
    const struct qd_requant_vnni *q;
    const int8_t *weights;
    multiply_function *const *to_bytes, *const *to_sums;
    finish_function *finish;
    int n0, n;
};

static struct panel panel_of(const struct qd_conv_params *p, const struct qd_requant_vnni *q, int n0)
{
    int vectors = vectors_of(p->n - n0);
    struct panel panel = {.params = p,
                          .q = q,
                          .weights = (const int8_t *)p->weights + panel_offset(n0, p->n_runs, p->run_k),
                          .to_bytes = to_bytes[p->n - n0 >= 16 * vectors][finish_of(p)][vectors - 1],
                          .to_sums = to_sums[vectors - 1],
                          .finish = finish_function_of(p),
                          .n0 = n0,
                          .n = p->n_end - n0 < PANEL ? p->n_end - n0 : PANEL};

    return panel;
}

/* Through a buffer of sums, block by block. m pixels in all, where there are two pieces. */
static void run_sums(const struct panel *panel, struct block *block, int m)
{
    int n_pieces = m > PIECE ? 2 : 1, rows = (m + n_pieces - 1) / n_pieces;
    sums_row sums[2 * PIECE] __attribute__((aligned(64)));

    block->piece[0].m = rows;
    block->piece[1].m = m - rows;
    for (int count = block->count; count > 0; count--) {
        block->count = 1;
        panel->to_sums[m - 1](panel->params, panel->q, block, panel->n0, panel->weights, sums);
        for (int i = 0; i < n_pieces; i++) {
            panel->finish(panel->params, panel->q, &block->piece[i], &sums[PIECE * i], panel->n0, panel->n);
            piece_after(panel->params, &block->piece[i], 2 * PIECE, &block->piece[i]);
        }
    }
}

static void run_block(const struct panel *panel, struct block *block, int m)
{
    if (panel->to_bytes[m - 1])
        panel->to_bytes[m - 1](panel->params, panel->q, block, panel->n0, panel->weights, NULL);
    else
        run_sums(panel, block, m);
}

/* m pixels from the strip's pixel number at, count times. */
static void run_neighbours(const struct panel *panel, const struct strip *strip, int at, int m, int count)
{
    struct block block;

    piece_after(panel->params, &strip->piece, at, &block.piece[0]);
    piece_after(panel->params, &strip->piece, at + (m + 1) / 2, &block.piece[1]);
    block.count = count;
    block.run_begin = strip->run_begin;
    block.run_end = strip->run_end;
    run_block(panel, &block, m);
}

static void run_strip(const struct panel *panel, const struct strip *strip)
{
    int count = strip->piece.m / (2 * PIECE), rest = strip->piece.m % (2 * PIECE);

    if (count > 0)
        run_neighbours(panel, strip, 0, 2 * PIECE, count);
    if (rest > 0)
        run_neighbours(panel, strip, count * 2 * PIECE, rest, 1);
}

/* Two strips that are a piece each. */
static void run_two(const struct panel *panel, const struct strip *a, const struct strip *b)
{
    struct block block = {{a->piece, b->piece}, 1, a->run_begin, a->run_end};

    run_block(panel, &block, 2 * PIECE);
}

/* May they be worked on together? They are of the same runs, too. */
static bool are_pair(const struct strip *a, const struct strip *b)
{
    return a->piece.m == PIECE && b->piece.m == PIECE && a->run_begin == b->run_begin && a->run_end == b->run_end;
}

/* All strips, each of them by some panels. */
static void run_strips(const struct panel *panels, int n_panels, const struct strip *strips, int n_strips)
{
    for (int i = 0; i < n_strips; i++) {
        if (i + 1 < n_strips && are_pair(&strips[i], &strips[i + 1])) {
            for (int j = 0; j < n_panels; j++)
                run_two(&panels[j], &strips[i], &strips[i + 1]);
            i++;
            continue;
        }
        for (int j = 0; j < n_panels; j++)
            run_strip(&panels[j], &strips[i]);
    }
}

/* As many panels at a time as stay in L1 beside the pixels: then what they write of a pixel meets there, too. */
static int panels_at_a_time(const struct qd_conv_params *p)
{
    int64_t size = (int64_t)PANEL * 4 * quads(p->run_k) * p->n_runs, n = WEIGHTS_IN_L1 / size;

    return n < 1 ? 1 : n > MAX_PANELS ? MAX_PANELS : (int)n;
}

void qd_conv_vnni(const struct qd_conv_params *params)
{
    const struct qd_requant_vnni q = qd_requant_vnni_of(params->requant);
    int at_a_time = panels_at_a_time(params), strip_limit = at_a_time > 1 ? STRIP : BLOCK;
    struct qd_conv_params flat = *params;
    struct strip strips[MAX_STRIPS];
    struct panel panels[MAX_PANELS];
    struct qd_pixel pixel;

    qd_pixels_flatten(&flat);
    pixel = qd_pixel_at(&flat, flat.first);
    for (int first = 0; first < flat.m;) {
        int n_strips = 0;

        for (int m = 0; n_strips < MAX_STRIPS && m < BLOCK && first < flat.m; n_strips++) {
            strips[n_strips] = take_strip(&flat, &pixel, first, BLOCK - m < strip_limit ? BLOCK - m : strip_limit);
            m += strips[n_strips].piece.m;
            first += strips[n_strips].piece.m;
        }
        for (int n0 = flat.n_begin; n0 < flat.n_end;) {
            int n_panels = 0;

            for (; n_panels < at_a_time && n0 < flat.n_end; n0 += PANEL)
                panels[n_panels++] = panel_of(&flat, &q, n0);
            run_strips(panels, n_panels, strips, n_strips);
        }
    }
}
