#include "kernel/vector_scalar.h"

#include "kernel/max_pool_f32.h"

void qd_max_pool_f32_scalar(const struct qd_conv_f32_params *params)
{
    run_max_pool(params);
}
