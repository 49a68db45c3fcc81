/*
 * The convolution with AVX-VNNI: 256-bit vpdpbusd takes four steps of k at a time, bytes as they are, straight from the
 * tensor. Packed weights: panels_avx2.h's, in groups of 4.
 *
 * Six pixels by 16 columns of sums fill 12 of the 16 registers. Where the activation is linear they become bytes right
 * there; else, and for the few pixels at the end, they go through a small buffer. The pixels that share a pass over the
 * weights stay in L1 with them.
 */
#include "kernel/tiers.h"

#include <immintrin.h>
#include <string.h>

#include "kernel/panels_avx2.h"
#include "kernel/pixels.h"

#define ROWS 6
#define BLOCK_M 48 /* a multiple of ROWS */
#define BLOCK_N 64

struct places {
    const uint8_t *in[BLOCK_M], *residual[BLOCK_M];
    uint8_t *out[BLOCK_M];
};

typedef int32_t sums_row[QD_PANEL_AVX2];

size_t qd_conv_pack_size_avxvnni(int n, int n_runs, int run_k)
{
    return qd_panels_size_avx2(n, n_runs, run_k, 4);
}

void qd_conv_pack_avxvnni(void *packed, const int8_t *w, int n, int n_runs, int run_k)
{
    qd_panels_pack_avx2(packed, w, n, n_runs, run_k, 4);
}

/*
 * One row's 8 * vectors sums to bytes, where the activation is linear; out, residual, mult and offset point to the
 * first column, n more there are.
 */
ALWAYS_INLINE_AVX2 void finish(const struct qd_requant_avx2 *r, __m256i low, __m256i high, const float *mult,
                               const float *offset, int n, uint8_t *out, const uint8_t *residual, const int vectors)
{
    __m128i bytes = residual ? qd_load_bytes_avx2(residual, n) : _mm_setzero_si128();
    const __m256 none = _mm256_setzero_ps();
    struct qd_requant_avx2 linear = *r;

    linear.act = QD_REQUANT_LINEAR;
    low = qd_requant_ints_avx2(&linear, low, _mm256_loadu_ps(mult), _mm256_loadu_ps(offset), none, residual,
                               _mm256_cvtepu8_epi32(bytes));
    if (vectors > 1)
        high = qd_requant_ints_avx2(&linear, high, _mm256_loadu_ps(mult + 8), _mm256_loadu_ps(offset + 8), none,
                                    residual, _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)));
    qd_store_bytes_avx2(out, qd_pack_avx2(low, high, r->low), n);
}

/* Row r's share of one step: four of A's bytes against the four in each column. */
#define STEP(r)                                                                                                        \
    if (rows > r) {                                                                                                    \
        __m256i quad = _mm256_castps_si256(_mm256_broadcast_ss((const float *)(a##r + i)));                            \
        low##r = _mm256_dpbusd_avx_epi32(low##r, quad, b_low);                                                         \
        if (vectors > 1)                                                                                               \
            high##r = _mm256_dpbusd_avx_epi32(high##r, quad, b_high);                                                  \
    }
#define ZERO(r) __m256i low##r = _mm256_setzero_si256(), high##r = low##r;
#define POINT(r) const uint8_t *a##r = rows > r ? places->in[at + r] + p->run_offset[run] : NULL;
#define STORE(r)                                                                                                       \
    if (rows > r) {                                                                                                    \
        _mm256_storeu_si256((__m256i *)sums[r], low##r);                                                               \
        if (vectors > 1)                                                                                               \
            _mm256_storeu_si256((__m256i *)sums[r] + 1, high##r);                                                      \
    }
#define FINISH(row)                                                                                                    \
    if (rows > row)                                                                                                    \
        finish(r, low##row, high##row, mult, offset, p->n - n0, places->out[at + row] + n0,                            \
               residual ? places->residual[at + row] + n0 : NULL, vectors);
#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5)

enum finish { TO_SUMS, TO_BYTES, TO_BYTES_WITH_RESIDUAL };

/* The rows from at on, the panel of column n0. The sums have names: gcc spills arrays of them. */
ALWAYS_INLINE_AVX2 void multiply(const struct qd_conv_params *p, const struct qd_requant_avx2 *r,
                                 const struct places *places, int at, int n0, const int8_t *weights, sums_row *sums,
                                 const int rows, const int vectors, const enum finish how)
{
    const bool residual = how == TO_BYTES_WITH_RESIDUAL;
    const float *mult = p->requant->mult + n0, *offset = p->requant->offset + n0;
    const int run_bytes = qd_round_up(p->run_k, 4);

    EACH_ROW(ZERO)
    for (int run = 0; run < p->n_runs; run++) {
        EACH_ROW(POINT)

        for (int i = 0; i < run_bytes; i += 4, weights += 32 * vectors) {
            __m256i b_low = _mm256_loadu_si256((const __m256i *)weights), b_high = b_low;

            if (vectors > 1)
                b_high = _mm256_loadu_si256((const __m256i *)weights + 1);
            EACH_ROW(STEP)
        }
    }
    if (how == TO_SUMS) {
        EACH_ROW(STORE)
    } else {
        EACH_ROW(FINISH)
    }
}

typedef void multiply_function(const struct qd_conv_params *p, const struct qd_requant_avx2 *r,
                               const struct places *places, int at, int n0, const int8_t *weights, sums_row *sums);

#define MULTIPLY(rows, vectors, how)                                                                                   \
    static void multiply_##rows##_##vectors##_##how(const struct qd_conv_params *p, const struct qd_requant_avx2 *r,   \
                                                    const struct places *places, int at, int n0,                       \
                                                    const int8_t *weights, sums_row *sums)                             \
    {                                                                                                                  \
        multiply(p, r, places, at, n0, weights, sums, rows, vectors, how);                                             \
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

#define TO_SUMS_BY_ROWS(vectors)                                                                                       \
    {                                                                                                                  \
        multiply_1_##vectors##_TO_SUMS, multiply_2_##vectors##_TO_SUMS, multiply_3_##vectors##_TO_SUMS,                \
            multiply_4_##vectors##_TO_SUMS, multiply_5_##vectors##_TO_SUMS, multiply_6_##vectors##_TO_SUMS             \
    }
static multiply_function *const to_sums[2][ROWS] = {TO_SUMS_BY_ROWS(1), TO_SUMS_BY_ROWS(2)};
static multiply_function *const to_bytes[2][2] = {
    {multiply_6_1_TO_BYTES, multiply_6_1_TO_BYTES_WITH_RESIDUAL},
    {multiply_6_2_TO_BYTES, multiply_6_2_TO_BYTES_WITH_RESIDUAL},
};

static void finish_rows(const struct qd_conv_params *p, const struct qd_requant_avx2 *r, const struct places *places,
                        sums_row *sums, int at, int64_t m0, int m, int n0, int n)
{
    for (int i = 0; i < m; i++) {
        if (p->out_f32)
            qd_finish_row_f32_avx2(p->requant, sums[i], n0, n, p->out_f32 + (m0 + at + i) * p->n + n0);
        else if (p->residual)
            qd_finish_row_avx2(r, p->requant, sums[i], n0, n, places->out[at + i] + n0, places->residual[at + i] + n0);
        else
            qd_finish_row_avx2(r, p->requant, sums[i], n0, n, places->out[at + i] + n0, NULL);
    }
}

/* m rows, the first of them the call's m0, by the columns n0 .. n_end. */
static void multiply_block(const struct qd_conv_params *p, const struct qd_requant_avx2 *r, const struct places *places,
                           int64_t m0, int m, int n0, int n_end)
{
    const bool linear = p->out && p->requant->act == QD_REQUANT_LINEAR;
    sums_row sums[ROWS] __attribute__((aligned(32)));
    int all_k = p->n_runs * qd_round_up(p->run_k, 4);

    for (; n0 < n_end; n0 += QD_PANEL_AVX2) {
        const int8_t *weights = (const int8_t *)p->weights + qd_panel_offset_avx2(n0, all_k);
        int vectors = qd_panel_vectors_avx2(p->n, n0), n = n_end - n0 < QD_PANEL_AVX2 ? n_end - n0 : QD_PANEL_AVX2;

        for (int i = 0; i < m; i += ROWS) {
            int rows = m - i < ROWS ? m - i : ROWS;

            if (linear && rows == ROWS) {
                to_bytes[vectors - 1][p->residual != NULL](p, r, places, i, n0, weights, sums);
                continue;
            }
            to_sums[vectors - 1][rows - 1](p, r, places, i, n0, weights, sums);
            finish_rows(p, r, places, sums, i, m0, rows, n0, n);
        }
    }
}

void qd_conv_avxvnni(const struct qd_conv_params *params)
{
    const struct qd_conv_params *p = params;
    const struct qd_requant_avx2 r = qd_requant_avx2_of(p->requant);
    struct places places;

    for (int n0 = p->n_begin; n0 < p->n_end; n0 += BLOCK_N) {
        struct qd_pixel pixel = qd_pixel_at(p, p->first);
        int n_end = p->n_end - n0 < BLOCK_N ? p->n_end : n0 + BLOCK_N;

        for (int i = 0; i < p->m; i += BLOCK_M) {
            int m = p->m - i < BLOCK_M ? p->m - i : BLOCK_M;

            qd_pixels_take(p, &pixel, m, places.in, places.out, places.residual);
            multiply_block(p, &r, &places, i, m, n0, n_end);
        }
    }
}
