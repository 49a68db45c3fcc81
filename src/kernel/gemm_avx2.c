/*
 * The exact product without VNNI: bytes widened to 16 bits and vpmaddwd, two steps of k at a time.
 *
 * Packed weights: panels of 16 columns, [n/16][k/2][16][2] s8, k rounded up to even with zeros; a last panel of at most
 * 8 columns is 8 wide. They stay s8 in memory and are widened when loaded: a network's weights stream from L3 or
 * memory, and twice the bytes cost more there than the widening.
 * A is widened once per block of rows into a scratch that all panels share. Sums go through a small buffer, so that the
 * epilogue walks rows and k may be cut in chunks; the buffer and A's block fit L1 together.
 */
#include "kernel/tiers.h"

#include <immintrin.h>
#include <string.h>

#include "kernel/requant_avx2.h"

#define ROWS 6                 /* of the inner kernel: 6 x 16 sums fill 12 of the 16 registers */
#define BLOCK_M 24             /* rows that share a pass over the weights */
#define BLOCK_N 64             /* columns of the buffer of sums */
#define BLOCK_K 256            /* even */
#define A_PITCH (BLOCK_K + 32) /* not a power of two, else rows share cache sets */

struct scratch {
    int16_t a[BLOCK_M][A_PITCH];
    int32_t sums[BLOCK_M][BLOCK_N];
};

static int even(int k)
{
    return (k + 1) & ~1;
}

/* The bytes of the columns before n, which is a multiple of 16 or the end. */
static size_t panel_offset(int n, int k)
{
    int columns = n % 16 == 0 ? n : n % 16 <= 8 ? n / 16 * 16 + 8 : n / 16 * 16 + 16;

    return (size_t)columns * (size_t)even(k);
}

size_t qd_gemm_pack_size_avx2(int n, int k)
{
    return panel_offset(n, k) + QD_KERNEL_SLACK;
}

void qd_gemm_pack_avx2(void *packed, const int8_t *w, int n, int k)
{
    int8_t *out = packed;

    memset(packed, 0, qd_gemm_pack_size_avx2(n, k));
    for (int n0 = 0; n0 < n; n0 += 16) {
        int8_t *panel = out + panel_offset(n0, k);
        int width = n - n0 <= 8 ? 8 : 16;

        for (int j = 0; j < 16 && n0 + j < n; j++) {
            for (int i = 0; i < k; i++)
                panel[((ptrdiff_t)(i / 2) * width + j) * 2 + i % 2] = w[(ptrdiff_t)(n0 + j) * k + i];
        }
    }
}

/* Row r's share of one step: the pair of A's values against the pair in each column. */
#define STEP(r)                                                                                                        \
    if (rows > r) {                                                                                                    \
        __m256i pair = _mm256_castps_si256(_mm256_broadcast_ss((const float *)(a + r * A_PITCH)));                     \
        low##r = _mm256_add_epi32(low##r, _mm256_madd_epi16(pair, b_low));                                             \
        if (vectors > 1)                                                                                               \
            high##r = _mm256_add_epi32(high##r, _mm256_madd_epi16(pair, b_high));                                      \
    }
#define LOAD(r)                                                                                                        \
    __m256i low##r = _mm256_setzero_si256(), high##r = _mm256_setzero_si256();                                         \
    if (rows > r && !first) {                                                                                          \
        low##r = _mm256_load_si256((const __m256i *)(sums + r * BLOCK_N));                                             \
        if (vectors > 1)                                                                                               \
            high##r = _mm256_load_si256((const __m256i *)(sums + r * BLOCK_N + 8));                                    \
    }
#define STORE(r)                                                                                                       \
    if (rows > r) {                                                                                                    \
        _mm256_store_si256((__m256i *)(sums + r * BLOCK_N), low##r);                                                   \
        if (vectors > 1)                                                                                               \
            _mm256_store_si256((__m256i *)(sums + r * BLOCK_N + 8), high##r);                                          \
    }
#define EACH_ROW(F) F(0) F(1) F(2) F(3) F(4) F(5)

/* sums (+)= rows of A times one panel of 8 * vectors columns. The sums have names: gcc spills arrays of them. */
ALWAYS_INLINE_AVX2 void multiply(const int16_t *a, const int8_t *b, int n_pairs, int32_t *sums, bool first,
                                 const int rows, const int vectors)
{
    EACH_ROW(LOAD)

    for (int i = 0; i < n_pairs; i++, a += 2, b += 16 * vectors) {
        __m256i b_low = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)b)), b_high = b_low;

        if (vectors > 1)
            b_high = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(b + 16)));
        EACH_ROW(STEP)
    }
    EACH_ROW(STORE)
}

#define MULTIPLY(rows, vectors)                                                                                        \
    static void multiply_##rows##_##vectors(const int16_t *a, const int8_t *b, int n_pairs, int32_t *sums, bool first) \
    {                                                                                                                  \
        multiply(a, b, n_pairs, sums, first, rows, vectors);                                                           \
    }
MULTIPLY(1, 1)
MULTIPLY(2, 1)
MULTIPLY(3, 1)
MULTIPLY(4, 1)
MULTIPLY(5, 1)
MULTIPLY(6, 1)
MULTIPLY(1, 2)
MULTIPLY(2, 2)
MULTIPLY(3, 2)
MULTIPLY(4, 2)
MULTIPLY(5, 2)
MULTIPLY(6, 2)

typedef void multiply_function(const int16_t *a, const int8_t *b, int n_pairs, int32_t *sums, bool first);

static multiply_function *const multiply_functions[2][ROWS] = {
    {multiply_1_1, multiply_2_1, multiply_3_1, multiply_4_1, multiply_5_1, multiply_6_1},
    {multiply_1_2, multiply_2_2, multiply_3_2, multiply_4_2, multiply_5_2, multiply_6_2},
};

/* Reads up to 15 bytes past the row, which the slack allows; what they hold meets zero weights or is never used. */
static void widen(struct scratch *scratch, const uint8_t *a, ptrdiff_t a_stride, int m, int k)
{
    for (int r = 0; r < m; r++, a += a_stride) {
        for (int i = 0; i < k; i += 16) {
            __m256i words = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(a + i)));
            _mm256_store_si256((__m256i *)&scratch->a[r][i], words);
        }
    }
}

/* The sums of m rows and columns n0 .. n0 + n, over k0 .. k0 + k. */
static void multiply_block(const struct qd_gemm_params *p, struct scratch *scratch, int m, int n0, int n, int k0, int k)
{
    const int8_t *b = p->b;

    for (int j = 0; j < n; j += 16) {
        int vectors = p->n - n0 - j <= 8 ? 1 : 2;
        const int8_t *panel = b + panel_offset(n0 + j, p->k) + k0 * 8 * vectors;

        for (int i = 0; i < m; i += ROWS) {
            int rows = m - i < ROWS ? m - i : ROWS;

            multiply_functions[vectors - 1][rows - 1](scratch->a[i], panel, (k + 1) / 2, &scratch->sums[i][j], k0 == 0);
        }
    }
}

static void finish_row_f32(const struct qd_requant *requant, const int32_t *sums, int n0, int n, float *out)
{
    for (int j = 0; j < n; j += 8) {
        __m256 t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_load_si256((const __m256i *)(sums + j))),
                                   _mm256_loadu_ps(requant->mult + n0 + j), _mm256_loadu_ps(requant->offset + n0 + j));
        float tail[8];

        if (n - j >= 8) {
            _mm256_storeu_ps(out + j, t);
        } else {
            _mm256_storeu_ps(tail, t);
            memcpy(out + j, tail, (size_t)(n - j) * sizeof(float));
        }
    }
}

ALWAYS_INLINE_AVX2 void finish_row(const struct qd_requant_avx2 *r, const struct qd_requant *requant,
                                   const int32_t *sums, int n0, int n, uint8_t *out, const uint8_t *residual)
{
    for (int j = 0; j < n; j += 16) {
        const float *mult = requant->mult + n0 + j, *offset = requant->offset + n0 + j;
        __m256i low = _mm256_setzero_si256(), high = low;

        if (residual) {
            __m128i bytes = qd_load_bytes_avx2(residual + j, n - j);
            low = _mm256_cvtepu8_epi32(bytes);
            high = _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8));
        }
        low = qd_requant_ints_avx2(r, _mm256_load_si256((const __m256i *)(sums + j)), _mm256_loadu_ps(mult),
                                   _mm256_loadu_ps(offset), residual, low);
        high = qd_requant_ints_avx2(r, _mm256_load_si256((const __m256i *)(sums + j + 8)), _mm256_loadu_ps(mult + 8),
                                    _mm256_loadu_ps(offset + 8), residual, high);
        qd_store_bytes_avx2(out + j, qd_pack_avx2(low, high, r->low), n - j);
    }
}

static void finish_block(const struct qd_gemm_params *p, const struct scratch *scratch, int m0, int m, int n0, int n)
{
    const struct qd_requant_avx2 r = qd_requant_avx2_of(p->requant);

    for (int i = 0; i < m; i++) {
        const int32_t *sums = scratch->sums[i];
        ptrdiff_t row = m0 + i;

        if (p->out_f32)
            finish_row_f32(p->requant, sums, n0, n, (float *)((char *)p->out_f32 + row * p->out_stride) + n0);
        else if (p->residual)
            finish_row(&r, p->requant, sums, n0, n, p->out + row * p->out_stride + n0,
                       p->residual + row * p->residual_stride + n0);
        else
            finish_row(&r, p->requant, sums, n0, n, p->out + row * p->out_stride + n0, NULL);
    }
}

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

void qd_gemm_avx2(const struct qd_gemm_params *params)
{
    const struct qd_gemm_params *p = params;
    struct scratch scratch __attribute__((aligned(64)));

    for (int m0 = 0; m0 < p->m; m0 += BLOCK_M) {
        const uint8_t *a = p->a + m0 * p->a_stride;
        int m = at_most(p->m - m0, BLOCK_M);

        for (int n0 = 0; n0 < p->n; n0 += BLOCK_N) {
            int n = at_most(p->n - n0, BLOCK_N);

            for (int k0 = 0; k0 < p->k; k0 += BLOCK_K) {
                int k = at_most(p->k - k0, BLOCK_K);

                if (n0 == 0 || p->k > BLOCK_K)
                    widen(&scratch, a + k0, p->a_stride, m, k);
                multiply_block(p, &scratch, m, n0, n, k0, k);
            }
            finish_block(p, &scratch, m0, m, n0, n);
        }
    }
}
