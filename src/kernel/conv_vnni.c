/*
 * The convolution with AVX-512 VNNI: vpdpbusd takes four steps of k at a time, bytes as they are, straight from the
 * tensor.
 *
 * Pixels are taken in pieces, up to seven neighbours of one row (the sides of pictures are multiples of seven more
 * often than of anything else). Two whole pieces by 32 columns of sums fill 28 of the 32 registers; what is left is one
 * piece at a time. Where the activation is linear the sums become bytes right there, else through a small buffer.
 *
 * Packed weights: panels of 32 columns, each [n_runs][run_k/4][vectors][16][4] s8 where vectors is 2, or 1 in a last
 * panel of at most 16 columns; each run rounded up to a multiple of 4 with zeros, so that what is read past it meets
 * zeros. conv_amx.c reads these panels too.
 */
#include "kernel/tiers.h"

#include <string.h>

#include "kernel/pixels.h"
#include "kernel/requant_vnni.h"

#define PIECE 7
#define PANEL 32
#define BLOCK 64 /* pieces that go through all panels before the next ones: their pixels stay in L2 */

/* Neighbouring pixels of one row, and which runs are not left out there. */
struct piece {
    const uint8_t *in, *residual;
    uint8_t *out;
    int m, first; /* pixels; the first one's number among the call's */
    int n_pieces; /* that are worked on together with this one: 2 of whole ones, else 1 */
    int run_begin, run_end;
};

typedef int32_t sums_row[PANEL];

static int quads(int k)
{
    return (k + 3) / 4;
}

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

/* Where the activation is linear. */
ALWAYS_INLINE_VNNI __m512i requant_vector(const struct qd_requant_vnni *r, __m512i sums, const float *mult,
                                          const float *offset, const uint8_t *residual)
{
    __m512i bytes = _mm512_setzero_si512();

    if (residual)
        bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)residual));
    return qd_requant_ints_vnni(r, sums, _mm512_loadu_ps(mult), _mm512_loadu_ps(offset), _mm512_setzero_ps(), residual,
                                bytes);
}

/* n bytes exactly, at most PANEL: a masked store costs many times a plain one. */
ALWAYS_INLINE_VNNI void store_bytes(uint8_t *out, __m256i bytes, int n)
{
    __m128i part = _mm256_castsi256_si128(bytes);
    uint64_t tail;

    if (n >= PANEL) {
        _mm256_storeu_si256((__m256i *)out, bytes);
        return;
    }
    if (n & 16) {
        _mm_storeu_si128((__m128i *)out, part);
        part = _mm256_extracti128_si256(bytes, 1);
        out += 16;
    }
    if (n & 8) {
        _mm_storel_epi64((__m128i *)out, part);
        part = _mm_unpackhi_epi64(part, part);
        out += 8;
    }
    tail = (uint64_t)_mm_cvtsi128_si64(part);
    for (int i = 0; i < (n & 7); i++, tail >>= 8)
        out[i] = (uint8_t)tail;
}

/*
 * The ints of two pixels' columns to bytes. The packs work in each 128-bit lane: a lane ends with four bytes of each of
 * the four vectors.
 */
ALWAYS_INLINE_VNNI void store_two(const struct qd_requant_vnni *r, __m512i a0, __m512i a1, __m512i b0, __m512i b1,
                                  uint8_t *a, uint8_t *b, int n)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a0, a1), _mm512_packs_epi32(b0, b1));

    bytes = qd_clamp_vnni(r, _mm512_permutexvar_epi32(order, bytes));
    store_bytes(a, _mm512_castsi512_si256(bytes), n);
    if (b)
        store_bytes(b, _mm512_extracti64x4_epi64(bytes, 1), n);
}

/* Four pixels of a panel of at most 16 columns. */
ALWAYS_INLINE_VNNI void store_four(const struct qd_requant_vnni *r, __m512i a, __m512i b, __m512i c, __m512i d,
                                   uint8_t *const out[4], int n)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    __m128i parts[4];

    bytes = qd_clamp_vnni(r, _mm512_permutexvar_epi32(order, bytes));
    parts[0] = _mm512_castsi512_si128(bytes);
    parts[1] = _mm512_extracti32x4_epi32(bytes, 1);
    parts[2] = _mm512_extracti32x4_epi32(bytes, 2);
    parts[3] = _mm512_extracti32x4_epi32(bytes, 3);
    for (int i = 0; i < 4; i++) {
        if (n >= 16)
            _mm_storeu_si128((__m128i *)out[i], parts[i]);
        else
            store_bytes(out[i], _mm256_castsi128_si256(parts[i]), n);
    }
}

#define EACH_ROW(F, p) F(p, 0) F(p, 1) F(p, 2) F(p, 3) F(p, 4) F(p, 5) F(p, 6)
#define ZERO(p, r) __m512i s##p##r##0 = _mm512_setzero_si512(), s##p##r##1 = s##p##r##0;
/* Rows 0, 3 and 6 have pointers of their own: the others are one or two steps from them. */
#define POINT(p)                                                                                                       \
    const uint8_t *a##p##0 = pieces > p ? piece[p].in + params->run_offset[run] : NULL;                                \
    const uint8_t *a##p##3 = pieces > p ? a##p##0 + 3 * step : NULL, *a##p##6 = pieces > p ? a##p##3 + 3 * step : NULL;
#define AT(p, r) ((r) < 3 ? a##p##0 + (r)*step : (r) < 6 ? a##p##3 + ((r)-3) * step : a##p##6)
/* Row r's share of one step: four of A's bytes against the four in each column. */
#define STEP(p, r)                                                                                                     \
    if (pieces > p && rows > r) {                                                                                      \
        int32_t quad;                                                                                                  \
        __m512i x;                                                                                                     \
        memcpy(&quad, AT(p, r), sizeof(quad));                                                                         \
        x = _mm512_set1_epi32(quad);                                                                                   \
        s##p##r##0 = _mm512_dpbusd_epi32(s##p##r##0, x, w0);                                                           \
        if (vectors > 1)                                                                                               \
            s##p##r##1 = _mm512_dpbusd_epi32(s##p##r##1, x, w1);                                                       \
    }
#define MOVE_ON(p)                                                                                                     \
    if (pieces > p) {                                                                                                  \
        a##p##0 += 4;                                                                                                  \
        a##p##3 += 4;                                                                                                  \
        a##p##6 += 4;                                                                                                  \
    }
#define STORE(p, r)                                                                                                    \
    if (pieces > p && rows > r) {                                                                                      \
        _mm512_storeu_si512(sums[PIECE * p + r], s##p##r##0);                                                          \
        if (vectors > 1)                                                                                               \
            _mm512_storeu_si512(sums[PIECE * p + r] + 16, s##p##r##1);                                                 \
    }
#define REQUANT(p, r)                                                                                                  \
    if (pieces > p && rows > r) {                                                                                      \
        const uint8_t *b = residual ? piece[p].residual + r * params->residual_steps.x + n0 : NULL;                    \
        s##p##r##0 = requant_vector(q, s##p##r##0, mult, offset, b);                                                   \
        if (vectors > 1)                                                                                               \
            s##p##r##1 = requant_vector(q, s##p##r##1, mult + 16, offset + 16, b ? b + 16 : NULL);                     \
    }
#define OUT(p, r) (piece[p].out + (r)*params->out_steps.x + n0)
/* Two pieces: the same pixel of both; one: two neighbours. */
#define FINISH_BOTH(r)                                                                                                 \
    REQUANT(0, r) REQUANT(1, r) store_two(q, s0##r##0, s0##r##1, s1##r##0, s1##r##1, OUT(0, r), OUT(1, r), n);
#define FINISH_FOUR(r, next)                                                                                           \
    {                                                                                                                  \
        uint8_t *const out[4] = {OUT(0, r), OUT(1, r), OUT(0, next), OUT(1, next)};                                    \
        REQUANT(0, r)                                                                                                  \
        REQUANT(1, r) REQUANT(0, next) REQUANT(1, next)                                                                \
            store_four(q, s0##r##0, s1##r##0, s0##next##0, s1##next##0, out, n);                                       \
    }
#define FINISH_TWO(r, next)                                                                                            \
    if (rows > r) {                                                                                                    \
        REQUANT(0, r)                                                                                                  \
        REQUANT(0, next)                                                                                               \
        store_two(q, s0##r##0, s0##r##1, s0##next##0, s0##next##1, OUT(0, r), rows > next ? OUT(0, next) : NULL, n);   \
    }

enum finish { TO_SUMS, TO_BYTES, TO_BYTES_WITH_RESIDUAL };

/* The sums have names: gcc spills arrays of them. rows of each of the pieces. */
ALWAYS_INLINE_VNNI void multiply(const struct qd_conv_params *params, const struct qd_requant_vnni *q,
                                 const struct piece *piece, int n0, const int8_t *weights, sums_row *sums,
                                 const int pieces, const int rows, const int vectors, const enum finish finish)
{
    const bool residual = finish == TO_BYTES_WITH_RESIDUAL;
    const float *mult = params->requant->mult + n0, *offset = params->requant->offset + n0;
    const int n = params->n - n0, run_quads = quads(params->run_k);
    const ptrdiff_t step = params->in_steps.x;

    EACH_ROW(ZERO, 0)
    EACH_ROW(ZERO, 1)
    weights += (ptrdiff_t)piece->run_begin * run_quads * 64 * vectors;
    for (int run = piece->run_begin; run < piece->run_end; run++) {
        POINT(0)
        POINT(1)

        for (int i = 0; i < run_quads; i++, weights += 64 * vectors) {
            __m512i w0 = _mm512_loadu_si512(weights), w1 = w0;

            if (vectors > 1)
                w1 = _mm512_loadu_si512(weights + 64);
            EACH_ROW(STEP, 0)
            EACH_ROW(STEP, 1)
            MOVE_ON(0)
            MOVE_ON(1)
        }
    }
    if (finish == TO_SUMS) {
        EACH_ROW(STORE, 0)
        EACH_ROW(STORE, 1)
    } else if (pieces == 2 && vectors == 1) {
        FINISH_FOUR(0, 1)
        FINISH_FOUR(2, 3)
        FINISH_FOUR(4, 5)
        FINISH_BOTH(6)
    } else if (pieces == 2) {
        FINISH_BOTH(0)
        FINISH_BOTH(1)
        FINISH_BOTH(2)
        FINISH_BOTH(3)
        FINISH_BOTH(4)
        FINISH_BOTH(5)
        FINISH_BOTH(6)
    } else {
        FINISH_TWO(0, 1)
        FINISH_TWO(2, 3)
        FINISH_TWO(4, 5)
        if (rows > 6) {
            REQUANT(0, 6)
            store_two(q, s060, s061, s060, s061, OUT(0, 6), NULL, n);
        }
    }
}

typedef void multiply_function(const struct qd_conv_params *params, const struct qd_requant_vnni *q,
                               const struct piece *piece, int n0, const int8_t *weights, sums_row *sums);

#define MULTIPLY(pieces, rows, vectors, finish)                                                                        \
    static void multiply_##pieces##_##rows##_##vectors##_##finish(                                                     \
        const struct qd_conv_params *params, const struct qd_requant_vnni *q, const struct piece *piece, int n0,       \
        const int8_t *weights, sums_row *sums)                                                                         \
    {                                                                                                                  \
        multiply(params, q, piece, n0, weights, sums, pieces, rows, vectors, finish);                                  \
    }
#define MULTIPLY_ROWS(vectors, finish)                                                                                 \
    MULTIPLY(1, 1, vectors, finish)                                                                                    \
    MULTIPLY(1, 2, vectors, finish)                                                                                    \
    MULTIPLY(1, 3, vectors, finish)                                                                                    \
    MULTIPLY(1, 4, vectors, finish)                                                                                    \
    MULTIPLY(1, 5, vectors, finish)                                                                                    \
    MULTIPLY(1, 6, vectors, finish)                                                                                    \
    MULTIPLY(1, 7, vectors, finish)                                                                                    \
    MULTIPLY(2, 7, vectors, finish)
MULTIPLY_ROWS(1, TO_SUMS)
MULTIPLY_ROWS(2, TO_SUMS)
MULTIPLY_ROWS(1, TO_BYTES)
MULTIPLY_ROWS(2, TO_BYTES)
MULTIPLY_ROWS(1, TO_BYTES_WITH_RESIDUAL)
MULTIPLY_ROWS(2, TO_BYTES_WITH_RESIDUAL)

#define BY_ROWS(vectors, finish)                                                                                       \
    {                                                                                                                  \
        multiply_1_1_##vectors##_##finish, multiply_1_2_##vectors##_##finish, multiply_1_3_##vectors##_##finish,       \
            multiply_1_4_##vectors##_##finish, multiply_1_5_##vectors##_##finish, multiply_1_6_##vectors##_##finish,   \
            multiply_1_7_##vectors##_##finish, multiply_2_7_##vectors##_##finish                                       \
    }
/* By finish, vectors - 1, and rows - 1 of one piece; last, two whole pieces. */
static multiply_function *const functions[3][2][PIECE + 1] = {
    {BY_ROWS(1, TO_SUMS), BY_ROWS(2, TO_SUMS)},
    {BY_ROWS(1, TO_BYTES), BY_ROWS(2, TO_BYTES)},
    {BY_ROWS(1, TO_BYTES_WITH_RESIDUAL), BY_ROWS(2, TO_BYTES_WITH_RESIDUAL)},
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

/* What belongs to the columns of a panel; the second half only where n > 16. */
struct columns {
    __m512 mult[2], offset[2], slope[2];
};

ALWAYS_INLINE_VNNI void load_columns(const struct qd_requant *requant, int n0, int n, struct columns *ret)
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
    struct columns columns;

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

/* NULL: the multiplication itself leaves bytes. */
static finish_function *finish_of(const struct qd_conv_params *p)
{
    if (!p->out)
        return finish_f32;
    switch (p->requant->act) {
    case QD_REQUANT_LEAKY:
        return finish_leaky;
    case QD_REQUANT_HARDSWISH:
        return finish_hardswish;
    case QD_REQUANT_PIECEWISE:
        return finish_piecewise;
    case QD_REQUANT_PIECEWISE_STEPS:
        return finish_piecewise_steps;
    default:
        return NULL;
    }
}

/* The next piece of the row, from the call's pixel number `first`; the pixel moves behind it. */
static struct piece take_piece(const struct qd_conv_params *p, struct qd_pixel *pixel, int first)
{
    int m = p->out_w - pixel->x < p->m - first ? p->out_w - pixel->x : p->m - first;
    struct piece piece = {.m = m < PIECE ? m : PIECE, .first = first, .n_pieces = 1, .run_end = p->n_runs};

    piece.in = p->in + qd_pixel_offset(&p->in_steps, *pixel);
    if (p->out)
        piece.out = p->out + qd_pixel_offset(&p->out_steps, *pixel);
    if (p->residual)
        piece.residual = p->residual + qd_pixel_offset(&p->residual_steps, *pixel);
    if (p->run_rows) {
        while (piece.run_begin < piece.run_end && p->run_rows[piece.run_begin].begin > pixel->y)
            piece.run_begin++;
        while (piece.run_end > piece.run_begin && p->run_rows[piece.run_end - 1].end <= pixel->y)
            piece.run_end--;
    }
    pixel->x += piece.m - 1;
    qd_pixel_next(p, pixel);
    return piece;
}

/* At most BLOCK pieces, from the call's pixel number *first. Returns how many; *first moves behind them. */
static int take_pieces(const struct qd_conv_params *p, struct qd_pixel *pixel, int *first, struct piece *pieces)
{
    int n = 0;

    for (; n < BLOCK && *first < p->m; n++) {
        struct piece *before = n > 0 ? &pieces[n - 1] : NULL;

        pieces[n] = take_piece(p, pixel, *first);
        *first += pieces[n].m;
        if (before && before->n_pieces == 1 && before->m == PIECE && pieces[n].m == PIECE &&
            before->run_begin == pieces[n].run_begin && before->run_end == pieces[n].run_end)
            before->n_pieces = 2;
        if (before && before->n_pieces == 2)
            pieces[n].n_pieces = 0;
    }
    return n;
}

/* One panel of all pieces. */
static void run_pieces(const struct qd_conv_params *p, const struct qd_requant_vnni *q, const struct piece *pieces,
                       int n_pieces, int n0)
{
    const int8_t *weights = (const int8_t *)p->weights + panel_offset(n0, p->n_runs, p->run_k);
    sums_row sums[2 * PIECE] __attribute__((aligned(64)));
    finish_function *finish = finish_of(p);
    int n = p->n_end - n0 < PANEL ? p->n_end - n0 : PANEL;
    multiply_function *const *by_rows = functions[finish        ? TO_SUMS
                                                  : p->residual ? TO_BYTES_WITH_RESIDUAL
                                                                : TO_BYTES][vectors_of(p->n - n0) - 1];

    for (int i = 0; i < n_pieces; i += pieces[i].n_pieces) {
        by_rows[pieces[i].n_pieces == 2 ? PIECE : pieces[i].m - 1](p, q, &pieces[i], n0, weights, sums);
        for (int j = 0; j < pieces[i].n_pieces && finish; j++)
            finish(p, q, &pieces[i + j], &sums[PIECE * j], n0, n);
    }
}

void qd_conv_vnni(const struct qd_conv_params *params)
{
    const struct qd_requant_vnni q = qd_requant_vnni_of(params->requant);
    struct qd_conv_params flat = *params;
    struct piece pieces[BLOCK];
    struct qd_pixel pixel;
    int first = 0, n_pieces;

    qd_pixels_flatten(&flat);
    pixel = qd_pixel_at(&flat, flat.first);
    while ((n_pieces = take_pieces(&flat, &pixel, &first, pieces)) > 0) {
        for (int n0 = flat.n_begin; n0 < flat.n_end; n0 += PANEL)
            run_pieces(&flat, &q, pieces, n_pieces, n0);
    }
}
