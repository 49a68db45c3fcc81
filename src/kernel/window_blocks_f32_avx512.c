#include "kernel/vector_avx512.h"

#include "kernel/window_blocks_f32.h"

void qd_depthwise_blocks_f32_avx512(const struct qd_conv_f32_params *params)
{
    run_window_blocks(params, false);
}

void qd_max_pool_blocks_f32_avx512(const struct qd_conv_f32_params *params)
{
    run_window_blocks(params, true);
}
