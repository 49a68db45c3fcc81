/*
 * The convolution with AVX-512 VNNI: vpdpbusd takes four steps of k at a time, bytes as they are, straight from the
 * tensor.
 *
 * Packed weights: panels of QD_CONV_PANEL columns, each [n_runs][run_k/4][vectors][16][4] s8 where vectors is 4, or in
 * the last panel as many as its columns need; each run rounded up to a multiple of 4 with zeros, so that what is read
 * past it meets zeros.
 *
 * Six pixels by 64 columns of sums fill 24 of the 32 registers. Where the activation is linear they become bytes right
 * there; else, and for the few pixels at the end, they go through a small buffer.
 */
#include "kernel/tiers.h"

#include <string.h>

#include "kernel/pixels.h"
#include "kernel/requant_vnni.h"

#define ROWS 6

struct places {
    const uint8_t *in[ROWS], *residual[ROWS];
    uint8_t *out[ROWS];
};

typedef int32_t sums_row[QD_CONV_PANEL];

static int quads(int k)
{
    return (k + 3) / 4;
}

static int vectors_of(int n)
{
    return n >= QD_CONV_PANEL ? 4 : (n + 15) / 16;
}

size_t qd_conv_pack_size_vnni(int n, int n_runs, int run_k)
{
    return ((size_t)n + 15) / 16 * 64 * (size_t)quads(run_k) * (size_t)n_runs + QD_KERNEL_SLACK;
}

/* The panel that begins with column n0, a multiple of QD_CONV_PANEL. */
static ptrdiff_t panel_offset(int n0, int n_runs, int run_k)
{
    return (ptrdiff_t)n0 * 4 * quads(run_k) * n_runs;
}

void qd_conv_pack_vnni(void *packed, const int8_t *w, int n, int n_runs, int run_k)
{
    int8_t *out = packed;

    memset(packed, 0, qd_conv_pack_size_vnni(n, n_runs, run_k));
    for (int j = 0; j < n; j++) {
        int n0 = j / QD_CONV_PANEL * QD_CONV_PANEL;
        ptrdiff_t step = (ptrdiff_t)vectors_of(n - n0) * 64;
        int8_t *panel = out + panel_offset(n0, n_runs, run_k) + (ptrdiff_t)(j - n0) * 4;

        for (int r = 0; r < n_runs; r++, panel += quads(run_k) * step) {
            for (int i = 0; i < run_k; i++)
                panel[i / 4 * step + i % 4] = *w++;
        }
    }
}

ALWAYS_INLINE_VNNI __m512i requant_vector(const struct qd_requant_vnni *r, __m512i sums, const float *mult,
                                          const float *offset, const uint8_t *residual)
{
    __m512i bytes = _mm512_setzero_si512();

    if (residual)
        bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)residual));
    return qd_requant_ints_vnni(r, sums, _mm512_loadu_ps(mult), _mm512_loadu_ps(offset), residual, bytes);
}

/* Ints of the columns in order to bytes. The packs work in each 128-bit lane: a lane ends with four bytes of each. */
ALWAYS_INLINE_VNNI __m512i pack_bytes(const struct qd_requant_vnni *r, __m512i v0, __m512i v1, __m512i v2, __m512i v3)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(v0, v1), _mm512_packs_epi32(v2, v3));

    return _mm512_max_epu8(_mm512_permutexvar_epi32(order, bytes), r->low);
}

/* Row r's share of one step: four of A's bytes against the four in each column. */
#define STEP(r)                                                                                                        \
    if (rows > r) {                                                                                                    \
        int32_t quad;                                                                                                  \
        __m512i x;                                                                                                     \
        memcpy(&quad, a##r + i, sizeof(quad));                                                                         \
        x = _mm512_set1_epi32(quad);                                                                                   \
        s##r##0 = _mm512_dpbusd_epi32(s##r##0, x, b0);                                                                 \
        if (vectors > 1)                                                                                               \
            s##r##1 = _mm512_dpbusd_epi32(s##r##1, x, b1);                                                             \
        if (vectors > 2)                                                                                               \
            s##r##2 = _mm512_dpbusd_epi32(s##r##2, x, b2);                                                             \
        if (vectors > 3)                                                                                               \
            s##r##3 = _mm512_dpbusd_epi32(s##r##3, x, b3);                                                             \
    }
#define ZERO(r) __m512i s##r##0 = _mm512_setzero_si512(), s##r##1 = s##r##0, s##r##2 = s##r##0, s##r##3 = s##r##0;
#define POINT(r) const uint8_t *a##r = rows > r ? in->in[r] + p->run_offset[run] : NULL;
#define STORE(r)                                                                                                       \
    if (rows > r) {                                                                                                    \
        _mm512_storeu_si512(sums[r], s##r##0);                                                                         \
        if (vectors > 1)                                                                                               \
            _mm512_storeu_si512(sums[r] + 16, s##r##1);                                                                \
        if (vectors > 2)                                                                                               \
            _mm512_storeu_si512(sums[r] + 32, s##r##2);                                                                \
        if (vectors > 3)                                                                                               \
            _mm512_storeu_si512(sums[r] + 48, s##r##3);                                                                \
    }
#define FINISH(row)                                                                                                    \
    if (rows > row) {                                                                                                  \
        const uint8_t *b = residual ? in->residual[row] + n0 : NULL;                                                   \
        s##row##0 = requant_vector(r, s##row##0, mult, offset, b);                                                     \
        if (vectors > 1)                                                                                               \
            s##row##1 = requant_vector(r, s##row##1, mult + 16, offset + 16, b ? b + 16 : NULL);                                  \
        if (vectors > 2)                                                                                               \
            s##row##2 = requant_vector(r, s##row##2, mult + 32, offset + 32, b ? b + 32 : NULL);                                  \
        if (vectors > 3)                                                                                               \
            s##row##3 = requant_vector(r, s##row##3, mult + 48, offset + 48, b ? b + 48 : NULL);                                  \
        _mm512_mask_storeu_epi8(in->out[row] + n0, mask, pack_bytes(r, s##row##0, s##row##1, s##row##2, s##row##3));   \
    }
#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5)

enum finish { TO_SUMS, TO_BYTES, TO_BYTES_WITH_RESIDUAL };

/* The sums have names: gcc spills arrays of them. */
ALWAYS_INLINE_VNNI void multiply(const struct qd_conv_params *p, const struct qd_requant_vnni *r,
                                 const struct places *in, int n0, const int8_t *weights, sums_row *sums, const int rows,
                                 const int vectors, const enum finish finish)
{
    const bool residual = finish == TO_BYTES_WITH_RESIDUAL;
    const float *mult = p->requant->mult + n0, *offset = p->requant->offset + n0;
    const __mmask64 mask = qd_mask64_vnni(p->n - n0);
    const int run_bytes = quads(p->run_k) * 4;

    EACH_ROW(ZERO)
    for (int run = 0; run < p->n_runs; run++) {
        EACH_ROW(POINT)

        for (int i = 0; i < run_bytes; i += 4, weights += 64 * vectors) {
            __m512i b0 = _mm512_loadu_si512(weights), b1 = b0, b2 = b0, b3 = b0;

            if (vectors > 1)
                b1 = _mm512_loadu_si512(weights + 64);
            if (vectors > 2)
                b2 = _mm512_loadu_si512(weights + 128);
            if (vectors > 3)
                b3 = _mm512_loadu_si512(weights + 192);
            EACH_ROW(STEP)
        }
    }
    if (finish == TO_SUMS) {
        EACH_ROW(STORE)
    } else {
        EACH_ROW(FINISH)
    }
}

typedef void multiply_function(const struct qd_conv_params *p, const struct qd_requant_vnni *r, const struct places *in,
                               int n0, const int8_t *weights, sums_row *sums);

#define MULTIPLY(rows, vectors, finish)                                                                                \
    static void multiply_##rows##_##vectors##_##finish(const struct qd_conv_params *p,                                 \
                                                       const struct qd_requant_vnni *r, const struct places *in, int n0, \
                                                       const int8_t *weights, sums_row *sums)                          \
    {                                                                                                                  \
        multiply(p, r, in, n0, weights, sums, rows, vectors, finish);                                                  \
    }
#define MULTIPLY_ROWS(vectors)                                                                                         \
    MULTIPLY(1, vectors, TO_SUMS)                                                                                      \
    MULTIPLY(2, vectors, TO_SUMS)                                                                                      \
    MULTIPLY(3, vectors, TO_SUMS)                                                                                      \
    MULTIPLY(4, vectors, TO_SUMS)                                                                                      \
    MULTIPLY(5, vectors, TO_SUMS)                                                                                      \
    MULTIPLY(6, vectors, TO_SUMS)                                                                                      \
    MULTIPLY(6, vectors, TO_BYTES)                                                                                     \
    MULTIPLY(6, vectors, TO_BYTES_WITH_RESIDUAL)
MULTIPLY_ROWS(1)
MULTIPLY_ROWS(2)
MULTIPLY_ROWS(3)
MULTIPLY_ROWS(4)

#define TO_SUMS_BY_ROWS(vectors)                                                                                       \
    {                                                                                                                  \
        multiply_1_##vectors##_TO_SUMS, multiply_2_##vectors##_TO_SUMS, multiply_3_##vectors##_TO_SUMS,                \
            multiply_4_##vectors##_TO_SUMS, multiply_5_##vectors##_TO_SUMS, multiply_6_##vectors##_TO_SUMS             \
    }
static multiply_function *const to_sums[4][ROWS] = {TO_SUMS_BY_ROWS(1), TO_SUMS_BY_ROWS(2), TO_SUMS_BY_ROWS(3),
                                                    TO_SUMS_BY_ROWS(4)};
static multiply_function *const to_bytes[4][2] = {
    {multiply_6_1_TO_BYTES, multiply_6_1_TO_BYTES_WITH_RESIDUAL},
    {multiply_6_2_TO_BYTES, multiply_6_2_TO_BYTES_WITH_RESIDUAL},
    {multiply_6_3_TO_BYTES, multiply_6_3_TO_BYTES_WITH_RESIDUAL},
    {multiply_6_4_TO_BYTES, multiply_6_4_TO_BYTES_WITH_RESIDUAL},
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

/* n at most 64 columns of one row. */
ALWAYS_INLINE_VNNI void finish_row(const struct qd_requant_vnni *r, const struct qd_requant *requant,
                                   const int32_t *sums, int n0, int n, uint8_t *out, const uint8_t *residual)
{
    __m512i v[4];

    for (int j = 0; j < 4; j++) {
        v[j] = v[0];
        if (16 * j < n)
            v[j] = requant_vector(r, _mm512_loadu_si512(sums + 16 * j), requant->mult + n0 + 16 * j,
                                  requant->offset + n0 + 16 * j, residual ? residual + 16 * j : NULL);
    }
    _mm512_mask_storeu_epi8(out, qd_mask64_vnni(n), pack_bytes(r, v[0], v[1], v[2], v[3]));
}

static void finish_rows(const struct qd_conv_params *p, const struct qd_requant_vnni *r, const struct places *places,
                        sums_row *sums, int m0, int m, int n0, int n)
{
    for (int i = 0; i < m; i++) {
        if (p->out_f32)
            finish_row_f32(p->requant, sums[i], n0, n, p->out_f32 + (ptrdiff_t)(m0 + i) * p->n + n0);
        else if (p->residual)
            finish_row(r, p->requant, sums[i], n0, n, places->out[i] + n0, places->residual[i] + n0);
        else
            finish_row(r, p->requant, sums[i], n0, n, places->out[i] + n0, NULL);
    }
}

void qd_conv_vnni(const struct qd_conv_params *params)
{
    const struct qd_conv_params *p = params;
    const struct qd_requant_vnni r = qd_requant_vnni_of(p->requant);
    const bool linear = p->out && p->requant->act == QD_REQUANT_LINEAR;
    sums_row sums[ROWS] __attribute__((aligned(64)));
    struct places places;

    for (int n0 = p->n_begin; n0 < p->n_end; n0 += QD_CONV_PANEL) {
        const int8_t *weights = (const int8_t *)p->weights + panel_offset(n0, p->n_runs, p->run_k);
        int n = p->n_end - n0 < QD_CONV_PANEL ? p->n_end - n0 : QD_CONV_PANEL, vectors = vectors_of(p->n - n0);
        struct qd_pixel pixel = qd_pixel_at(p, p->first);

        for (int i = 0; i < p->m; i += ROWS) {
            int m = p->m - i < ROWS ? p->m - i : ROWS;

            qd_pixels_take(p, &pixel, m, places.in, places.out, places.residual);
            if (linear && m == ROWS) {
                to_bytes[vectors - 1][p->residual != NULL](p, &r, &places, n0, weights, sums);
                continue;
            }
            to_sums[vectors - 1][m - 1](p, &r, &places, n0, weights, sums);
            finish_rows(p, &r, &places, sums, i, m, n0, n);
        }
    }
}
