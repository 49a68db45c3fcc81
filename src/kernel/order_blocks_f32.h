/*
 * Pictures from planes to blocks of channels and back, for the vectors of the including file (vector_*.h). Static
 * inline only.
 */
#ifndef QD_KERNEL_ORDER_BLOCKS_F32_H
#define QD_KERNEL_ORDER_BLOCKS_F32_H

#include "kernel/tiers.h"

/* LANES rows of LANES floats; of the input's rows there are n_in, of the output's n_out. */
static inline void transpose_lanes(const float *in, ptrdiff_t in_row, int n_in, float *out, ptrdiff_t out_row,
                                   int n_out)
{
    VECTOR rows[LANES];

    for (int i = 0; i < LANES; i++)
        rows[i] = i < n_in ? vector_load(in + i * in_row) : vector_all(0);
    vector_transpose(rows);
    for (int i = 0; i < LANES && i < n_out; i++)
        vector_store(out + i * out_row, rows[i]);
}

static inline void run_to_blocks(const float *in, float *out, int c, size_t pixels)
{
    ptrdiff_t whole = (ptrdiff_t)pixels / LANES * LANES, n = (ptrdiff_t)pixels;

    for (int first = 0; first < c; first += QD_F32_BLOCK, out += n * QD_F32_BLOCK) {
        for (int v = 0; v < QD_F32_BLOCK; v += LANES)
            for (ptrdiff_t p = 0; p < whole; p += LANES)
                transpose_lanes(in + (first + v) * n + p, n, c - first - v, out + p * QD_F32_BLOCK + v, QD_F32_BLOCK,
                                LANES);
        for (ptrdiff_t p = whole; p < n; p++)
            for (int i = 0; i < QD_F32_BLOCK; i++)
                out[p * QD_F32_BLOCK + i] = first + i < c ? in[(first + i) * n + p] : 0;
    }
}

static inline void run_from_blocks(const float *in, float *out, int c, size_t pixels)
{
    ptrdiff_t whole = (ptrdiff_t)pixels / LANES * LANES, n = (ptrdiff_t)pixels;

    for (int first = 0; first < c; first += QD_F32_BLOCK, in += n * QD_F32_BLOCK) {
        for (int v = 0; v < QD_F32_BLOCK && first + v < c; v += LANES)
            for (ptrdiff_t p = 0; p < whole; p += LANES)
                transpose_lanes(in + p * QD_F32_BLOCK + v, QD_F32_BLOCK, LANES, out + (first + v) * n + p, n,
                                c - first - v);
        for (int i = 0; i < QD_F32_BLOCK && first + i < c; i++)
            for (ptrdiff_t p = whole; p < n; p++)
                out[(first + i) * n + p] = in[p * QD_F32_BLOCK + i];
    }
}

#endif
