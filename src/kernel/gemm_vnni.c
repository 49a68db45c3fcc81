/*
 * u8 x s8 by vpdpbusd: four products summed into int32 without saturation. Weights are packed in panels of 16 columns:
 * [n / 16][k / 4][16 columns][4]. Six rows against four panels keep 24 sums in registers. (Built with -fno-tree-pre: gcc
 * 12 spills the sums otherwise.)
 */
#ifdef QD_EMULATE_AVX512
#include <simde/x86/avx512.h>
#else
#include <immintrin.h>
#endif
#include <string.h>

#include "kernel/tiers.h"

#define PANEL 16
#define ROWS 6

static size_t n_quads(int k)
{
    return (size_t)(k + 3) / 4;
}

size_t qd_gemm_pack_size_vnni(int n, int k)
{
    /* Four panels are read at once, whether or not there are as many. */
    return (size_t)((n + 4 * PANEL - 1) / (4 * PANEL)) * 4 * n_quads(k) * PANEL * 4 + QD_KERNEL_SLACK;
}

void qd_gemm_pack_vnni(void *packed, const int8_t *w, int n, int k)
{
    int8_t *to = packed;

    memset(packed, 0, qd_gemm_pack_size_vnni(n, k));
    for (int first = 0; first < n; first += PANEL)
        for (size_t q = 0; q < n_quads(k); q++)
            for (int j = first; j < first + PANEL; j++)
                for (int x = (int)q * 4; x < (int)q * 4 + 4; x++)
                    *to++ = j < n && x < k ? w[(size_t)j * (size_t)k + (size_t)x] : 0;
}

struct tile {
    __m512i s[ROWS][4];
};

static inline __m512i broadcast(const uint8_t *p)
{
    int32_t four;

    memcpy(&four, p, sizeof(four));
    return _mm512_set1_epi32(four);
}

static inline __attribute__((always_inline)) void multiply(struct tile *tile, const uint8_t *const a[ROWS],
                                                           const int8_t *b, size_t quads)
{
    size_t panel = quads * PANEL * 4;
    const uint8_t *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *a4 = a[4], *a5 = a[5];
#define ZERO(i)                                                                                                        \
    __m512i s##i##0 = _mm512_setzero_si512(), s##i##1 = s##i##0, s##i##2 = s##i##0, s##i##3 = s##i##0
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
    ZERO(4);
    ZERO(5);
#undef ZERO

    for (size_t q = 0; q < quads; q++, b += PANEL * 4) {
        __m512i b0 = _mm512_loadu_si512((const void *)b), b1 = _mm512_loadu_si512((const void *)(b + panel));
        __m512i b2 = _mm512_loadu_si512((const void *)(b + 2 * panel)), b3 = _mm512_loadu_si512((const void *)(b + 3 * panel));
        __m512i x;

#define ROW(i)                                                                                                         \
    x = broadcast(a##i + q * 4);                                                                                       \
    s##i##0 = _mm512_dpbusd_epi32(s##i##0, x, b0);                                                                     \
    s##i##1 = _mm512_dpbusd_epi32(s##i##1, x, b1);                                                                     \
    s##i##2 = _mm512_dpbusd_epi32(s##i##2, x, b2);                                                                     \
    s##i##3 = _mm512_dpbusd_epi32(s##i##3, x, b3);
        ROW(0)
        ROW(1)
        ROW(2)
        ROW(3)
        ROW(4)
        ROW(5)
#undef ROW
    }
#define STORE(i)                                                                                                       \
    tile->s[i][0] = s##i##0;                                                                                           \
    tile->s[i][1] = s##i##1;                                                                                           \
    tile->s[i][2] = s##i##2;                                                                                           \
    tile->s[i][3] = s##i##3;
    STORE(0)
    STORE(1)
    STORE(2)
    STORE(3)
    STORE(4)
    STORE(5)
#undef STORE
}

/* Sixteen sums of one row, columns column .. column + n - 1, leave. */
static void finish16(const struct qd_gemm_params *p, __m512i sums, int row, int column, int n)
{
    const struct qd_requant *q = p->requant;
    __mmask16 mask = (__mmask16)(n >= PANEL ? 0xffff : (1u << n) - 1);
    __m512 t = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_maskz_loadu_ps(mask, q->mult + column),
                               _mm512_maskz_loadu_ps(mask, q->offset + column));
    __m512i steps;

    if (p->out_f32) {
        _mm512_mask_storeu_ps((uint8_t *)p->out_f32 + row * p->out_stride + (ptrdiff_t)column * 4, mask, t);
        return;
    }
    if (p->residual) {
        /* Within the slack, so no mask is needed. */
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(p->residual + row * p->residual_stride + column));

        t = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), _mm512_set1_ps(q->residual_mult), t);
    }
    if (q->act == QD_REQUANT_LEAKY) {
        __mmask16 negative = _mm512_cmp_ps_mask(t, _mm512_setzero_ps(), _CMP_LT_OQ);

        t = _mm512_mask_blend_ps(negative, t, _mm512_mul_ps(t, _mm512_set1_ps(q->slope)));
        t = _mm512_add_ps(t, _mm512_set1_ps(q->zero));
    } else if (q->act == QD_REQUANT_HARDSWISH) {
        __m512 gate = _mm512_fmadd_ps(t, _mm512_set1_ps(q->slope), _mm512_set1_ps(0.5f));

        gate = _mm512_min_ps(_mm512_max_ps(gate, _mm512_setzero_ps()), _mm512_set1_ps(1.0f));
        t = _mm512_add_ps(_mm512_mul_ps(t, gate), _mm512_set1_ps(q->zero));
    }
    steps = _mm512_max_epi32(_mm512_cvtps_epi32(t), _mm512_set1_epi32(q->clamp_min));
    steps = _mm512_min_epi32(steps, _mm512_set1_epi32(q->clamp_max));
    {
        __m128i bytes = _mm512_cvtepi32_epi8(steps);
        uint8_t *out = p->out + row * p->out_stride + column;

        if (n >= PANEL) {
            _mm_storeu_si128((__m128i *)(void *)out, bytes);
        } else {
            uint8_t copy[16];

            _mm_storeu_si128((__m128i *)(void *)copy, bytes);
            memcpy(out, copy, (size_t)n);
        }
    }
}

void qd_gemm_vnni(const struct qd_gemm_params *p)
{
    size_t quads = n_quads(p->k), panel = quads * PANEL * 4;

    for (int first = 0; first < p->m; first += ROWS) {
        int rows = p->m - first < ROWS ? p->m - first : ROWS;
        const uint8_t *a[ROWS];

        for (int r = 0; r < ROWS; r++)
            a[r] = p->a + (first + (r < rows ? r : rows - 1)) * p->a_stride;
        for (int column = 0; column < p->n; column += 4 * PANEL) {
            struct tile tile;

            multiply(&tile, a, (const int8_t *)p->b + (size_t)(column / PANEL) * panel, quads);
            for (int r = 0; r < rows; r++)
                for (int j = 0; j < 4 && column + j * PANEL < p->n; j++)
                    finish16(p, tile.s[r][j], first + r, column + j * PANEL, p->n - column - j * PANEL);
        }
    }
}
