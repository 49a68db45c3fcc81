/*
 * The product with AVX-512 VNNI: vpdpbusd takes four steps of k at a time, bytes as they are.
 *
 * Packed weights: groups of up to 64 columns, each [k/4][vectors][16][4] s8 where vectors is 4, or in the last group as
 * many as its columns need; k rounded up to a multiple of 4 with zeros, so that what is read past a row of A meets
 * zeros.
 */
#include "kernel/tiers.h"

#include <string.h>

#include "kernel/requant_vnni.h"

#define ROWS 6 /* of the inner kernel: 6 x 64 sums fill 24 of the 32 registers */
#define GROUP_N 64
#define BLOCK_M_MAX 192
#define BLOCK_BYTES 131072 /* of A that share a pass over the weights: they stay in L2 beside a group's weights */

typedef int32_t sums_row[GROUP_N];

static int quads(int k)
{
    return (k + 3) / 4;
}

static int vectors_of(int n)
{
    return n >= GROUP_N ? 4 : (n + 15) / 16;
}

size_t qd_gemm_pack_size_vnni(int n, int k)
{
    return ((size_t)n + 15) / 16 * 64 * (size_t)quads(k) + QD_KERNEL_SLACK;
}

void qd_gemm_pack_vnni(void *packed, const int8_t *w, int n, int k)
{
    int8_t *out = packed;

    memset(packed, 0, qd_gemm_pack_size_vnni(n, k));
    for (int j = 0; j < n; j++) {
        int n0 = j / GROUP_N * GROUP_N;
        int8_t *group = out + (ptrdiff_t)n0 * 4 * quads(k);
        ptrdiff_t step = (ptrdiff_t)vectors_of(n - n0) * 64;

        for (int i = 0; i < k; i++)
            group[i / 4 * step + (j - n0) * 4 + i % 4] = w[(ptrdiff_t)j * k + i];
    }
}

/* Row r's share of one step: four of A's bytes against the four in each column. */
#define STEP(r)                                                                                                        \
    if (rows > r) {                                                                                                    \
        int32_t quad;                                                                                                  \
        __m512i x;                                                                                                     \
        memcpy(&quad, a + r * a_stride, sizeof(quad));                                                                 \
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
#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5)

/* The sums have names: gcc spills arrays of them. */
ALWAYS_INLINE_VNNI void multiply(const uint8_t *a, ptrdiff_t a_stride, const int8_t *b, int n_quads, sums_row *sums,
                                 const int rows, const int vectors)
{
    EACH_ROW(ZERO)

    for (int i = 0; i < n_quads; i++, a += 4, b += 64 * vectors) {
        __m512i b0 = _mm512_loadu_si512(b), b1 = b0, b2 = b0, b3 = b0;

        if (vectors > 1)
            b1 = _mm512_loadu_si512(b + 64);
        if (vectors > 2)
            b2 = _mm512_loadu_si512(b + 128);
        if (vectors > 3)
            b3 = _mm512_loadu_si512(b + 192);
        EACH_ROW(STEP)
    }
    EACH_ROW(STORE)
}

#define MULTIPLY(rows, vectors)                                                                                        \
    static void multiply_##rows##_##vectors(const uint8_t *a, ptrdiff_t a_stride, const int8_t *b, int n_quads,        \
                                            sums_row *sums)                                                            \
    {                                                                                                                  \
        multiply(a, a_stride, b, n_quads, sums, rows, vectors);                                                        \
    }
#define MULTIPLY_ROWS(vectors)                                                                                         \
    MULTIPLY(1, vectors)                                                                                               \
    MULTIPLY(2, vectors)                                                                                               \
    MULTIPLY(3, vectors)                                                                                               \
    MULTIPLY(4, vectors)                                                                                               \
    MULTIPLY(5, vectors)                                                                                               \
    MULTIPLY(6, vectors)
MULTIPLY_ROWS(1)
MULTIPLY_ROWS(2)
MULTIPLY_ROWS(3)
MULTIPLY_ROWS(4)

typedef void multiply_function(const uint8_t *a, ptrdiff_t a_stride, const int8_t *b, int n_quads, sums_row *sums);

static multiply_function *const multiply_functions[4][ROWS] = {
    {multiply_1_1, multiply_2_1, multiply_3_1, multiply_4_1, multiply_5_1, multiply_6_1},
    {multiply_1_2, multiply_2_2, multiply_3_2, multiply_4_2, multiply_5_2, multiply_6_2},
    {multiply_1_3, multiply_2_3, multiply_3_3, multiply_4_3, multiply_5_3, multiply_6_3},
    {multiply_1_4, multiply_2_4, multiply_3_4, multiply_4_4, multiply_5_4, multiply_6_4},
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

ALWAYS_INLINE_VNNI __m512i finish_vector(const struct qd_requant_vnni *r, const struct qd_requant *requant,
                                         const int32_t *sums, int n0, int n, int j, const uint8_t *residual)
{
    __mmask16 mask = qd_mask16_vnni(n - j);
    __m512i bytes = _mm512_setzero_si512();

    if (residual)
        bytes = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, residual + j));
    return qd_requant_ints_vnni(r, _mm512_loadu_si512(sums + j), _mm512_maskz_loadu_ps(mask, requant->mult + n0 + j),
                                _mm512_maskz_loadu_ps(mask, requant->offset + n0 + j), residual, bytes);
}

/* n at most 64 columns of one row. */
ALWAYS_INLINE_VNNI void finish_row(const struct qd_requant_vnni *r, const struct qd_requant *requant,
                                   const int32_t *sums, int n0, int n, uint8_t *out, const uint8_t *residual)
{
    /* The packs work in each 128-bit lane: a lane ends with four bytes of each of the four vectors. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i v0 = finish_vector(r, requant, sums, n0, n, 0, residual), v1 = v0, v2 = v0, v3 = v0, bytes;

    if (n > 16)
        v1 = finish_vector(r, requant, sums, n0, n, 16, residual);
    if (n > 32)
        v2 = finish_vector(r, requant, sums, n0, n, 32, residual);
    if (n > 48)
        v3 = finish_vector(r, requant, sums, n0, n, 48, residual);
    bytes = _mm512_packus_epi16(_mm512_packs_epi32(v0, v1), _mm512_packs_epi32(v2, v3));
    bytes = _mm512_max_epu8(_mm512_permutexvar_epi32(order, bytes), r->low);
    _mm512_mask_storeu_epi8(out, qd_mask64_vnni(n), bytes);
}

static void finish_rows(const struct qd_gemm_params *p, const struct qd_requant_vnni *r, sums_row *sums, int m0, int m,
                        int n0, int n)
{
    for (int i = 0; i < m; i++) {
        ptrdiff_t row = m0 + i;

        if (p->out_f32)
            finish_row_f32(p->requant, sums[i], n0, n, (float *)((char *)p->out_f32 + row * p->out_stride) + n0);
        else if (p->residual)
            finish_row(r, p->requant, sums[i], n0, n, p->out + row * p->out_stride + n0,
                       p->residual + row * p->residual_stride + n0);
        else
            finish_row(r, p->requant, sums[i], n0, n, p->out + row * p->out_stride + n0, NULL);
    }
}

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

/* Rows m0 .. m0 + m by all columns. */
static void block(const struct qd_gemm_params *p, const struct qd_requant_vnni *r, int m0, int m)
{
    sums_row sums[ROWS] __attribute__((aligned(64)));

    for (int n0 = 0; n0 < p->n; n0 += GROUP_N) {
        const int8_t *b = (const int8_t *)p->b + (ptrdiff_t)n0 * 4 * quads(p->k);
        int n = at_most(p->n - n0, GROUP_N);

        for (int i = 0; i < m; i += ROWS) {
            int rows = at_most(m - i, ROWS);

            multiply_functions[vectors_of(n) - 1][rows - 1](p->a + (m0 + i) * p->a_stride, p->a_stride, b, quads(p->k),
                                                            sums);
            finish_rows(p, r, sums, m0 + i, rows, n0, n);
        }
    }
}

void qd_gemm_vnni(const struct qd_gemm_params *params)
{
    const struct qd_requant_vnni r = qd_requant_vnni_of(params->requant);
    int m_block = at_most(BLOCK_BYTES / params->k / ROWS * ROWS, BLOCK_M_MAX);

    if (m_block < ROWS)
        m_block = ROWS;
    for (int m0 = 0; m0 < params->m; m0 += m_block)
        block(params, &r, m0, at_most(params->m - m0, m_block));
}
