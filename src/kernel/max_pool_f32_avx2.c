#include "kernel/vector_avx2.h"

#include "kernel/max_pool_f32.h"

void qd_max_pool_f32_avx2(const struct qd_conv_f32_params *params)
{
    run_max_pool(params);
}
