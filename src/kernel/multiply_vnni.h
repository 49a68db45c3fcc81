/*
 * The inner kernel of conv_vnni.c: blocks of pixels times one panel of columns, and what then becomes of the sums.
 * Static inline only: included by files built for AVX-512 VNNI.
 */
#ifndef QD_KERNEL_MULTIPLY_VNNI_H
#define QD_KERNEL_MULTIPLY_VNNI_H

#include <string.h>

#include "kernel/requant_vnni.h"

#define PIECE 7
#define PANEL 32

/* Up to PIECE neighbouring pixels of one row. */
struct piece {
    const uint8_t *in, *residual;
    uint8_t *out;
    int m, first; /* pixels; the first one's number among the call's */
};

/*
 * Pixels that are worked on together: one piece, or two of which the first may be longer by one. count > 1: as many
 * blocks, each 2 * PIECE pixels after the one before.
 */
struct block {
    struct piece piece[2];
    int count, run_begin, run_end;
};

static inline int quads(int k)
{
    return (k + 3) / 4;
}

typedef int32_t sums_row[PANEL];

/* What the multiplication leaves: sums in a buffer, or bytes after an activation. */
enum finish { TO_SUMS, TO_BYTES, TO_BYTES_WITH_RESIDUAL, TO_LEAKY, TO_HARDSWISH, TO_PIECEWISE, N_FINISH };

/* Of the columns of a panel. */
struct columns {
    const float *mult, *offset, *slope;
};

ALWAYS_INLINE_VNNI __m512i requant_vector(const struct qd_requant_vnni *r, __m512i sums, const struct columns *columns,
                                          int at, const uint8_t *residual)
{
    __m512 slope = _mm512_setzero_ps();
    __m512i bytes = _mm512_setzero_si512();

    if (residual)
        bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(residual + at)));
    if (r->act != QD_REQUANT_LINEAR)
        slope = _mm512_loadu_ps(columns->slope + at);
    return qd_requant_ints_vnni(r, sums, _mm512_loadu_ps(columns->mult + at), _mm512_loadu_ps(columns->offset + at),
                                slope, residual, bytes);
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
    const uint8_t *a##p##0 = rows##p > 0 ? piece##p.in + params->run_offset[run] : NULL;                               \
    const uint8_t *a##p##3 = rows##p > 0 ? a##p##0 + 3 * step : NULL,                                                  \
                  *a##p##6 = rows##p > 0 ? a##p##3 + 3 * step : NULL;
#define AT(p, r) ((r) < 3 ? a##p##0 + (r)*step : (r) < 6 ? a##p##3 + ((r)-3) * step : a##p##6)
/* Row r's share of one step: four of A's bytes against the four in each column. */
#define STEP(p, r)                                                                                                     \
    if (rows##p > r) {                                                                                                 \
        int32_t quad;                                                                                                  \
        __m512i x;                                                                                                     \
        memcpy(&quad, AT(p, r), sizeof(quad));                                                                         \
        x = _mm512_set1_epi32(quad);                                                                                   \
        s##p##r##0 = _mm512_dpbusd_epi32(s##p##r##0, x, w0);                                                           \
        if (vectors > 1)                                                                                               \
            s##p##r##1 = _mm512_dpbusd_epi32(s##p##r##1, x, w1);                                                       \
    }
#define MOVE_ON(p)                                                                                                     \
    if (rows##p > 0) {                                                                                                 \
        a##p##0 += 4;                                                                                                  \
        a##p##3 += 4;                                                                                                  \
        a##p##6 += 4;                                                                                                  \
    }
#define STORE(p, r)                                                                                                    \
    if (rows##p > r) {                                                                                                 \
        _mm512_storeu_si512(sums[PIECE * p + r], s##p##r##0);                                                          \
        if (vectors > 1)                                                                                               \
            _mm512_storeu_si512(sums[PIECE * p + r] + 16, s##p##r##1);                                                 \
    }
#define REQUANT(p, r)                                                                                                  \
    if (rows##p > r) {                                                                                                 \
        s##p##r##0 = requant_vector(&q, s##p##r##0, &columns, 0, piece##p.residual);                                   \
        if (vectors > 1)                                                                                               \
            s##p##r##1 = requant_vector(&q, s##p##r##1, &columns, 16, piece##p.residual);                              \
        if (piece##p.residual)                                                                                         \
            piece##p.residual += params->residual_steps.x;                                                             \
    }
/* The next pixel's place. Never twice of one piece in a list or call: C gives those no order. */
#define OUT(p) next_out(&piece##p, out_step)
/* Two pieces: the same pixel of both, if the second one has it; one: two neighbours. */
#define FINISH_BOTH(r)                                                                                                 \
    if (rows0 > r) {                                                                                                   \
        REQUANT(0, r)                                                                                                  \
        REQUANT(1, r)                                                                                                  \
        store_two(&q, s0##r##0, s0##r##1, s1##r##0, s1##r##1, OUT(0), rows1 > r ? OUT(1) : NULL, n);                   \
    }
#define FINISH_FOUR(r, next)                                                                                           \
    if (rows1 > next) {                                                                                                \
        uint8_t *out00 = OUT(0), *out10 = OUT(1), *out01 = OUT(0), *out11 = OUT(1);                                    \
        uint8_t *const out[4] = {out00, out10, out01, out11};                                                          \
        REQUANT(0, r)                                                                                                  \
        REQUANT(1, r)                                                                                                  \
        REQUANT(0, next)                                                                                               \
        REQUANT(1, next)                                                                                               \
        store_four(&q, s0##r##0, s1##r##0, s0##next##0, s1##next##0, out, n);                                          \
    } else {                                                                                                           \
        FINISH_BOTH(r)                                                                                                 \
        FINISH_BOTH(next)                                                                                              \
    }
#define FINISH_TWO(r, next)                                                                                            \
    if (rows0 > r) {                                                                                                   \
        uint8_t *first = OUT(0);                                                                                       \
        REQUANT(0, r)                                                                                                  \
        REQUANT(0, next)                                                                                               \
        store_two(&q, s0##r##0, s0##r##1, s0##next##0, s0##next##1, first, rows0 > next ? OUT(0) : NULL, n);           \
    }
#define NEXT_BLOCK(p)                                                                                                  \
    piece##p.in += 2 * PIECE * step;                                                                                   \
    piece##p.out += PIECE * out_step;                                                                                  \
    if (piece##p.residual)                                                                                             \
        piece##p.residual += PIECE * params->residual_steps.x;

/* The piece n pixels on; field by field, since what was just written in parts is slow to read as a whole. */
static inline void piece_after(const struct qd_conv_params *params, const struct piece *piece, int n, struct piece *ret)
{
    ret->in = piece->in + n * params->in_steps.x;
    ret->out = piece->out ? piece->out + n * params->out_steps.x : NULL;
    ret->residual = piece->residual ? piece->residual + n * params->residual_steps.x : NULL;
    ret->m = piece->m;
    ret->first = piece->first + n;
}

/* gcc would work out all pixels' places in front of the products, and spill them. */
ALWAYS_INLINE_VNNI uint8_t *next_out(struct piece *piece, ptrdiff_t step)
{
    uint8_t *out = piece->out;

    piece->out += step;
    __asm__("" : "+r"(piece->out));
    return out;
}

static inline struct piece piece_at(const struct piece *piece, int n0, const bool residual)
{
    struct piece ret = {.in = piece->in};

    if (residual)
        ret.residual = piece->residual + n0;
    if (piece->out)
        ret.out = piece->out + n0;
    return ret;
}

/* m pixels, in two pieces where one does not hold them; whole: all columns of the vectors exist. The sums have names:
 * gcc spills arrays of them. */
ALWAYS_INLINE_VNNI void multiply(const struct qd_conv_params *params, const struct qd_requant_vnni *all,
                                 const struct block *block, int n0, const int8_t *weights, sums_row *sums, const int m,
                                 const int vectors, const enum finish finish, const bool whole)
{
    static const enum qd_requant_act acts[N_FINISH] = {
        [TO_LEAKY] = QD_REQUANT_LEAKY, [TO_HARDSWISH] = QD_REQUANT_HARDSWISH, [TO_PIECEWISE] = QD_REQUANT_PIECEWISE};
    const bool residual = finish == TO_BYTES_WITH_RESIDUAL;
    const int rows0 = m > PIECE ? (m + 1) / 2 : m, rows1 = m - rows0;
    const struct columns columns = {params->requant->mult + n0, params->requant->offset + n0,
                                    params->requant->slope + n0};
    const int n = whole ? 16 * vectors : params->n - n0, run_quads = quads(params->run_k);
    const ptrdiff_t step = params->in_steps.x, out_step = params->out_steps.x;
    struct piece piece0 = piece_at(&block->piece[0], n0, residual);
    struct piece piece1 = piece_at(&block->piece[rows1 > 0], n0, residual);
    struct qd_requant_vnni q = *all;

    q.act = acts[finish];
    weights += (ptrdiff_t)block->run_begin * run_quads * 64 * vectors;
    for (int count = block->count; count > 0; count--) {
        const int8_t *w = weights;

        EACH_ROW(ZERO, 0)
        EACH_ROW(ZERO, 1)
        for (int run = block->run_begin; run < block->run_end; run++) {
            POINT(0)
            POINT(1)

            for (int i = 0; i < run_quads; i++, w += 64 * vectors) {
                __m512i w0 = _mm512_loadu_si512(w), w1 = w0;

                if (vectors > 1)
                    w1 = _mm512_loadu_si512(w + 64);
                EACH_ROW(STEP, 0)
                EACH_ROW(STEP, 1)
                MOVE_ON(0)
                MOVE_ON(1)
            }
        }
        if (finish == TO_SUMS) {
            EACH_ROW(STORE, 0)
            EACH_ROW(STORE, 1)
            return;
        }
        if (rows1 > 0 && vectors == 1) {
            FINISH_FOUR(0, 1)
            FINISH_FOUR(2, 3)
            FINISH_FOUR(4, 5)
            FINISH_BOTH(6)
        } else if (rows1 > 0) {
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
            if (rows0 > 6) {
                REQUANT(0, 6)
                store_two(&q, s060, s061, s060, s061, OUT(0), NULL, n);
            }
        }
        NEXT_BLOCK(0)
        NEXT_BLOCK(1)
    }
}

#endif
