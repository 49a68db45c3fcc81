#include "op/product.h"

/* out[m][n] = a[m][k] * b[k][n]: a pointwise convolution of n pixels. */
static struct qd_conv_f32_params product_of(const float *a, const float *b, int m, int n, int k, float *out,
                                            void *scratch)
{
    return (struct qd_conv_f32_params){.in = b,
                                       .c = k,
                                       .h = 1,
                                       .w = n,
                                       .window = {1, 1, 1, 1, 1, 1, 0, 0},
                                       .weights = a,
                                       .out = out,
                                       .n = m,
                                       .out_h = 1,
                                       .out_w = n,
                                       .scratch = scratch};
}

void qd_product_f32(const struct qd_kernels_f32 *kernels, const float *a, const float *b, int64_t m, int64_t n,
                    int64_t k, float *out, void *scratch)
{
    struct qd_conv_f32_params product = product_of(a, b, (int)m, (int)n, (int)k, out, scratch);

    kernels->conv(&product);
}

size_t qd_product_scratch(int64_t n, int64_t k)
{
    struct qd_conv_f32_params product = product_of(NULL, NULL, 1, (int)n, (int)k, NULL, NULL);

    return (qd_conv_f32_scratch(&product) + 63) / 64 * 64;
}

bool qd_product_supports_q8(const struct qd_value *in, int64_t k)
{
    return k >= 1 && k <= QD_KERNEL_MAX_K && qd_shape_count(&in->shape) >= k;
}

enum qd_status qd_product_layer(const struct qd_value *in, const struct qd_product_matrix *matrix,
                                struct qd_arena *arena, struct qd_layer *ret, struct qd_error *err)
{
    size_t n = (size_t)matrix->n, k = (size_t)matrix->k;
    float *w = qd_arena_array(arena, n * k, sizeof(float));
    bool is_picture = qd_value_is_picture(in);
    int height = is_picture ? (int)in->shape.dims[2] : 1, width = is_picture ? (int)in->shape.dims[3] : 1;
    int rows = is_picture ? 1 : (int)(qd_shape_count(&in->shape) / matrix->k);

    if (!w)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
    for (size_t o = 0; o < n; o++)
        for (size_t i = 0; i < k; i++)
            w[o * k + i] = matrix->alpha * (matrix->transposed ? matrix->b[o * k + i] : matrix->b[i * n + o]);
    *ret = (struct qd_layer){
        .window = {.kernel = {height, width}, .stride = {1, 1}, .dilation = {1, 1}},
        .group = 1,
        .c = (int)matrix->k / (height * width),
        .h = height,
        .w = is_picture ? width : rows,
        .out_h = 1,
        .out_w = rows,
        .n = (int)matrix->n,
        .weights = w,
        .rows = !is_picture,
    };
    return QD_OK;
}
