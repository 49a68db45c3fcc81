/*
 * u8 x s8 by widening: pairs of products are summed by vpmaddwd in int32, which cannot saturate (vpmaddubsw could).
 * Weights are packed as int16, in panels of 16 columns: [n / 16][k / 2][16 columns][2]. Six rows of A at a time are
 * widened into a scratch on the stack, from where a pair of them is one broadcast load.
 */
#include "kernel/avx2.h"
#include "kernel/tiers.h"

#define PANEL 16
#define ROWS 6
#define BLOCK_K 2048 /* of A that is widened at once: ROWS * BLOCK_K * 2 bytes */
#define BLOCK_N 256  /* columns whose sums are kept while k is cut into blocks */

static int n_pairs(int k)
{
    return (k + 1) / 2;
}

size_t qd_gemm_pack_size_avx2(int n, int k)
{
    return (size_t)((n + PANEL - 1) / PANEL) * (size_t)n_pairs(k) * PANEL * 2 * sizeof(int16_t) + QD_KERNEL_SLACK;
}

void qd_gemm_pack_avx2(void *packed, const int8_t *w, int n, int k)
{
    int16_t *to = packed;

    for (int first = 0; first < n; first += PANEL)
        for (int p = 0; p < n_pairs(k); p++)
            for (int j = first; j < first + PANEL; j++)
                for (int x = 2 * p; x < 2 * p + 2; x++)
                    *to++ = j < n && x < k ? w[(size_t)j * (size_t)k + (size_t)x] : 0;
}

/* Rows [0, rows) of a, k bytes, to int16; missing rows repeat the last, an odd k ends in 0. */
static void widen_rows(const uint8_t *a, ptrdiff_t stride, int rows, int k, int16_t *to, int row_size)
{
    for (int r = 0; r < ROWS; r++) {
        const uint8_t *from = a + (r < rows ? r : rows - 1) * stride;
        int16_t *row = to + r * row_size;
        int x = 0;

        for (; x + 16 <= k; x += 16)
            _mm256_storeu_si256((__m256i *)(void *)(row + x),
                                _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(from + x))));
        for (; x < k; x++)
            row[x] = from[x];
        if (k & 1)
            row[k] = 0;
    }
}

struct tile {
    __m256i s[ROWS][2];
};

static inline __attribute__((always_inline)) void multiply(struct tile *tile, const int16_t *a, int row_size,
                                                           const int16_t *b, int pairs)
{
    __m256i s00 = tile->s[0][0], s01 = tile->s[0][1], s10 = tile->s[1][0], s11 = tile->s[1][1];
    __m256i s20 = tile->s[2][0], s21 = tile->s[2][1], s30 = tile->s[3][0], s31 = tile->s[3][1];
    __m256i s40 = tile->s[4][0], s41 = tile->s[4][1], s50 = tile->s[5][0], s51 = tile->s[5][1];

    for (int p = 0; p < pairs; p++, a += 2, b += 2 * PANEL) {
        __m256i b0 = _mm256_loadu_si256((const __m256i *)(const void *)b);
        __m256i b1 = _mm256_loadu_si256((const __m256i *)(const void *)(b + PANEL));
        __m256i x;

#define ROW(i)                                                                                                         \
    x = _mm256_set1_epi32(*(const int32_t *)(const void *)(a + (i) * row_size));                                       \
    s##i##0 = _mm256_add_epi32(s##i##0, _mm256_madd_epi16(x, b0));                                                     \
    s##i##1 = _mm256_add_epi32(s##i##1, _mm256_madd_epi16(x, b1));
        ROW(0)
        ROW(1)
        ROW(2)
        ROW(3)
        ROW(4)
        ROW(5)
#undef ROW
    }
    *tile = (struct tile){{{s00, s01}, {s10, s11}, {s20, s21}, {s30, s31}, {s40, s41}, {s50, s51}}};
}

/* Rows first .. first + rows - 1, columns column .. column + n - 1 (n at most 16) leave. */
static void finish(const struct qd_gemm_params *p, const struct qd_requant_avx2 *v, const struct tile *tile, int first,
                   int rows, int column, int n)
{
    const float *mult = p->requant->mult + column, *offset = p->requant->offset + column;

    for (int r = 0; r < rows; r++) {
        const uint8_t *residual = p->residual ? p->residual + (first + r) * p->residual_stride + column : NULL;
        __m256i low, high;

        if (p->out_f32) {
            float row[PANEL];

            _mm256_storeu_ps(row, _mm256_fmadd_ps(_mm256_cvtepi32_ps(tile->s[r][0]), _mm256_loadu_ps(mult),
                                                  _mm256_loadu_ps(offset)));
            _mm256_storeu_ps(row + 8, _mm256_fmadd_ps(_mm256_cvtepi32_ps(tile->s[r][1]), _mm256_loadu_ps(mult + 8),
                                                      _mm256_loadu_ps(offset + 8)));
            memcpy((uint8_t *)p->out_f32 + (first + r) * p->out_stride + (ptrdiff_t)column * 4, row, (size_t)n * 4);
            continue;
        }
        low = qd_requant8_avx2(v, tile->s[r][0], mult, offset, residual);
        high = qd_requant8_avx2(v, tile->s[r][1], mult + 8, offset + 8, residual ? residual + 8 : NULL);
        qd_store_bytes_avx2(p->out + (first + r) * p->out_stride + column, qd_pack16_avx2(low, high), n);
    }
}

/* One block of rows against columns [column, column + n). */
static void run_rows(const struct qd_gemm_params *p, const struct qd_requant_avx2 *v, int first, int rows, int column,
                     int n)
{
    _Alignas(32) int16_t a[ROWS * BLOCK_K];
    _Alignas(32) struct tile sums[BLOCK_N / PANEL];
    size_t panel_size = (size_t)n_pairs(p->k) * PANEL * 2;
    const int16_t *panels = (const int16_t *)p->b + (size_t)(column / PANEL) * panel_size;

    for (int x = 0; x < p->k; x += BLOCK_K) {
        int size = p->k - x < BLOCK_K ? p->k - x : BLOCK_K, row_size = (size + 1) / 2 * 2;

        widen_rows(p->a + first * p->a_stride + x, p->a_stride, rows, size, a, row_size);
        for (int j = 0; j < n; j += PANEL) {
            struct tile tile = {0};

            if (x > 0)
                tile = sums[j / PANEL];
            multiply(&tile, a, row_size, panels + (size_t)(j / PANEL) * panel_size + (size_t)x * PANEL,
                     n_pairs(size));
            if (x + size < p->k)
                sums[j / PANEL] = tile;
            else
                finish(p, v, &tile, first, rows, column + j, n - j < PANEL ? n - j : PANEL);
        }
    }
}

void qd_gemm_avx2(const struct qd_gemm_params *p)
{
    struct qd_requant_avx2 v = qd_requant_load_avx2(p->requant);

    for (int column = 0; column < p->n; column += BLOCK_N) {
        int n = p->n - column < BLOCK_N ? p->n - column : BLOCK_N;

        for (int first = 0; first < p->m; first += ROWS)
            run_rows(p, &v, first, p->m - first < ROWS ? p->m - first : ROWS, column, n);
    }
}
