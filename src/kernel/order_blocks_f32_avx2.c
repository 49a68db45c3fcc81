#include "kernel/vector_avx2.h"

#include "kernel/order_blocks_f32.h"

void qd_to_blocks_f32_avx2(const float *in, float *out, int c, size_t pixels)
{
    run_to_blocks(in, out, c, pixels);
}

void qd_from_blocks_f32_avx2(const float *in, float *out, int c, size_t pixels)
{
    run_from_blocks(in, out, c, pixels);
}
