/*
 * The exact convolution without VNNI: bytes widened to 16 bits and vpmaddwd, two steps of k at a time.
 *
 * Packed weights: panels_avx2.h's, in groups of 2. They stay s8 in memory and are widened when loaded: a network's
 * weights stream from L3 or memory, and twice the bytes cost more there than the widening.
 * A is widened once per block of rows into a scratch that all panels share. Sums go through a small buffer, so that the
 * epilogue walks rows and k may be cut in chunks; the buffer and A's block fit L1 together.
 */
#include "kernel/tiers.h"

#include <immintrin.h>
#include <string.h>

#include "kernel/panels_avx2.h"
#include "kernel/pixels.h"

#define ROWS 6                 /* of the inner kernel: 6 x 16 sums fill 12 of the 16 registers */
#define BLOCK_M 24             /* rows that share a pass over the weights */
#define BLOCK_N 64             /* columns of the buffer of sums */
#define BLOCK_K 256            /* even */
#define A_PITCH (BLOCK_K + 32) /* not a power of two, else rows share cache sets */

struct scratch {
    int16_t a[BLOCK_M][A_PITCH];
    int32_t sums[BLOCK_M][BLOCK_N];
    const uint8_t *in[BLOCK_M], *residual[BLOCK_M];
    uint8_t *out[BLOCK_M];
};

size_t qd_conv_pack_size_avx2(int n, int n_runs, int run_k)
{
    return qd_panels_size_avx2(n, n_runs, run_k, 2);
}

void qd_conv_pack_avx2(void *packed, const int8_t *w, int n, int n_runs, int run_k)
{
    qd_panels_pack_avx2(packed, w, n, n_runs, run_k, 2);
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

/*
 * Steps k0 .. k0 + k of m rows. Reads and writes up to 15 values past a run's end: what they hold is written over by
 * the next run, meets zero weights or is never used.
 */
static void widen(const struct qd_conv_params *p, struct scratch *scratch, int m, int k0, int k)
{
    int run_k = qd_round_up(p->run_k, 2), at, n;

    for (int i = 0; i < k; i += n) {
        ptrdiff_t offset = p->run_offset[(k0 + i) / run_k];

        at = (k0 + i) % run_k;
        n = run_k - at < k - i ? run_k - at : k - i;
        for (int row = 0; row < m; row++) {
            const uint8_t *in = scratch->in[row] + offset + at;
            int16_t *out = &scratch->a[row][i];

            for (int j = 0; j < n; j += 16)
                _mm256_storeu_si256((__m256i *)(out + j),
                                    _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(in + j))));
        }
    }
}

/* The sums of m rows and columns n0 .. n0 + n, over k0 .. k0 + k of all_k. */
static void multiply_block(const struct qd_conv_params *p, struct scratch *scratch, int m, int n0, int n, int k0, int k,
                           int all_k)
{
    const int8_t *b = p->weights;

    for (int j = 0; j < n; j += 16) {
        int vectors = qd_panel_vectors_avx2(p->n, n0 + j);
        const int8_t *panel = b + qd_panel_offset_avx2(n0 + j, all_k) + k0 * 8 * vectors;

        for (int i = 0; i < m; i += ROWS) {
            int rows = m - i < ROWS ? m - i : ROWS;

            multiply_functions[vectors - 1][rows - 1](scratch->a[i], panel, k / 2, &scratch->sums[i][j], k0 == 0);
        }
    }
}

static void finish_block(const struct qd_conv_params *p, const struct scratch *scratch, int m0, int m, int n0, int n)
{
    const struct qd_requant_avx2 r = qd_requant_avx2_of(p->requant);

    for (int i = 0; i < m; i++) {
        const int32_t *sums = scratch->sums[i];

        if (p->out_f32)
            qd_finish_row_f32_avx2(p->requant, sums, n0, n, p->out_f32 + (ptrdiff_t)(m0 + i) * p->n + n0);
        else if (p->residual)
            qd_finish_row_avx2(&r, p->requant, sums, n0, n, scratch->out[i] + n0, scratch->residual[i] + n0);
        else
            qd_finish_row_avx2(&r, p->requant, sums, n0, n, scratch->out[i] + n0, NULL);
    }
}

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

void qd_conv_avx2(const struct qd_conv_params *params)
{
    const struct qd_conv_params *p = params;
    struct scratch scratch __attribute__((aligned(64)));
    struct qd_pixel pixel = qd_pixel_at(p, p->first);
    int all_k = p->n_runs * qd_round_up(p->run_k, 2);

    for (int m0 = 0; m0 < p->m; m0 += BLOCK_M) {
        int m = at_most(p->m - m0, BLOCK_M);

        qd_pixels_take(p, &pixel, m, scratch.in, scratch.out, scratch.residual);
        for (int n0 = p->n_begin; n0 < p->n_end; n0 += BLOCK_N) {
            int n = at_most(p->n_end - n0, BLOCK_N);

            for (int k0 = 0; k0 < all_k; k0 += BLOCK_K) {
                int k = at_most(all_k - k0, BLOCK_K);

                if (n0 == p->n_begin || all_k > BLOCK_K)
                    widen(p, &scratch, m, k0, k);
                multiply_block(p, &scratch, m, n0, n, k0, k, all_k);
            }
            finish_block(p, &scratch, m0, m, n0, n);
        }
    }
}
