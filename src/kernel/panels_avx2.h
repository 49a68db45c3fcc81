/*
 * What the convolutions of 256-bit vectors share: weights in panels of 16 columns, and rows of sums to bytes. Static
 * inline only: included by files built for AVX2 and FMA.
 *
 * Panels: k counts through the runs, each rounded up to a multiple of group with zeros, so that what is read past a
 * run's end meets zeros. A panel is [k/group][16][group] s8; a last one of at most 8 columns is 8 wide.
 */
#ifndef QD_KERNEL_PANELS_AVX2_H
#define QD_KERNEL_PANELS_AVX2_H

#include <string.h>

#include "kernel/requant_avx2.h"

#define QD_PANEL_AVX2 16

static inline int qd_round_up(int k, int group)
{
    return (k + group - 1) / group * group;
}

/* The vectors of 8 columns in the panel that begins with column n0 of n. */
static inline int qd_panel_vectors_avx2(int n, int n0)
{
    return n - n0 <= 8 ? 1 : 2;
}

/* The bytes of the columns before n, a multiple of 16 or the end; k: all runs, rounded up. */
static inline size_t qd_panel_offset_avx2(int n, int k)
{
    return (size_t)qd_round_up(n, 8) * (size_t)k;
}

static inline size_t qd_panels_size_avx2(int n, int n_runs, int run_k, int group)
{
    return qd_panel_offset_avx2(n, n_runs * qd_round_up(run_k, group)) + QD_KERNEL_SLACK;
}

static inline void qd_panels_pack_avx2(void *packed, const int8_t *w, int n, int n_runs, int run_k, int group)
{
    int padded_k = qd_round_up(run_k, group);

    memset(packed, 0, qd_panels_size_avx2(n, n_runs, run_k, group));
    for (int j = 0; j < n; j++) {
        int n0 = j / QD_PANEL_AVX2 * QD_PANEL_AVX2, width = 8 * qd_panel_vectors_avx2(n, n0);
        int8_t *panel = (int8_t *)packed + qd_panel_offset_avx2(n0, n_runs * padded_k) + (j - n0) * group;

        for (int r = 0; r < n_runs; r++, panel += (ptrdiff_t)padded_k * width) {
            for (int i = 0; i < run_k; i++)
                panel[(ptrdiff_t)(i / group) * width * group + i % group] = *w++;
        }
    }
}

/* n sums of one row, columns n0 on, to floats. sums may be read up to a multiple of 8. */
static inline void qd_finish_row_f32_avx2(const struct qd_requant *requant, const int32_t *sums, int n0, int n,
                                          float *out)
{
    for (int j = 0; j < n; j += 8) {
        __m256 t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(sums + j))),
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

ALWAYS_INLINE_AVX2 void qd_finish_part_avx2(const struct qd_requant_avx2 *all, const struct qd_requant *requant,
                                            const int32_t *sums, int n0, int n, uint8_t *out, const uint8_t *residual,
                                            const bool linear)
{
    struct qd_requant_avx2 r = *all;

    if (linear)
        r.act = QD_REQUANT_LINEAR;
    for (int j = 0; j < n; j += 16) {
        const float *mult = requant->mult + n0 + j, *offset = requant->offset + n0 + j;
        const float *slope = requant->slope + n0 + j;
        __m256i low = _mm256_setzero_si256(), high = low;

        if (residual) {
            __m128i bytes = qd_load_bytes_avx2(residual + j, n - j);
            low = _mm256_cvtepu8_epi32(bytes);
            high = _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8));
        }
        low = qd_requant_ints_avx2(&r, _mm256_loadu_si256((const __m256i *)(sums + j)), _mm256_loadu_ps(mult),
                                   _mm256_loadu_ps(offset), _mm256_loadu_ps(slope), residual, low);
        high = qd_requant_ints_avx2(&r, _mm256_loadu_si256((const __m256i *)(sums + j + 8)), _mm256_loadu_ps(mult + 8),
                                    _mm256_loadu_ps(offset + 8), _mm256_loadu_ps(slope + 8), residual, high);
        qd_store_bytes_avx2(out + j, qd_pack_avx2(low, high, r.low), n - j);
    }
}

/* The same to bytes. out and residual (or NULL) point to column n0; sums may be read up to a multiple of 16. */
static inline void qd_finish_row_avx2(const struct qd_requant_avx2 *r, const struct qd_requant *requant,
                                      const int32_t *sums, int n0, int n, uint8_t *out, const uint8_t *residual)
{
    if (residual)
        qd_finish_part_avx2(r, requant, sums, n0, n, out, residual, false);
    else if (r->act == QD_REQUANT_LINEAR)
        qd_finish_part_avx2(r, requant, sums, n0, n, out, NULL, true);
    else
        qd_finish_part_avx2(r, requant, sums, n0, n, out, NULL, false);
}

#endif
