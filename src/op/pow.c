#include <math.h>

#include "op/elementwise.h"

/* Of whole numbers, cut off as products are; to a negative power, towards 0. */
static int64_t whole_power(int64_t a, int64_t b)
{
    uint64_t result = 1, factor = (uint64_t)a;

    if (b < 0)
        return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    for (; b; b >>= 1, factor *= factor)
        result *= b & 1 ? factor : 1;
    return (int64_t)result;
}

static double element(const struct qd_row *row, int operand, int64_t i)
{
    return qd_element_f64(row->in[operand], row->dtype[operand], i * row->stride[operand]);
}

static int64_t whole_element(const struct qd_row *row, int operand, int64_t i)
{
    return qd_element_i64(row->in[operand], row->dtype[operand], i * row->stride[operand]);
}

/* The exponents that networks have as constants: squares, and roots as normalisations write them. */
static void pow_f32(const struct qd_row *row)
{
    const float *a = row->in[0];
    float *y = row->out;
    bool one_exponent = row->stride[0] && !row->stride[1];
    double b0 = element(row, 1, 0);

    if (one_exponent && b0 == 2)
        for (int64_t i = 0; i < row->n; i++)
            y[i] = a[i] * a[i];
    else if (one_exponent && b0 == 3)
        for (int64_t i = 0; i < row->n; i++)
            y[i] = a[i] * a[i] * a[i];
    else if (one_exponent && b0 == 1)
        for (int64_t i = 0; i < row->n; i++)
            y[i] = a[i];
    else if (one_exponent)
        for (int64_t i = 0; i < row->n; i++)
            y[i] = powf(a[i], (float)b0);
    else
        for (int64_t i = 0; i < row->n; i++)
            y[i] = powf(a[i * row->stride[0]], (float)element(row, 1, i));
}

/* The base's type is the result's; the exponent may be of another. */
#define INTEGER_ROW(name, type)                                                                                        \
    static void name(const struct qd_row *row)                                                                         \
    {                                                                                                                  \
        type *y = row->out;                                                                                            \
                                                                                                                       \
        for (int64_t i = 0; i < row->n; i++)                                                                           \
            y[i] = (type)(row->dtype[1] == QD_F32                                                                      \
                              ? qd_to_integer(pow(element(row, 0, i), element(row, 1, i)), -0x1p62, 0x1p62)            \
                              : whole_power(whole_element(row, 0, i), whole_element(row, 1, i)));                      \
    }

INTEGER_ROW(pow_u8, uint8_t)
INTEGER_ROW(pow_s8, int8_t)
INTEGER_ROW(pow_i32, int32_t)
INTEGER_ROW(pow_i64, int64_t)

static const struct qd_elementwise functions = {
    .rows = {[QD_F32] = pow_f32, QD_INTEGER_ROWS_OF(pow)},
    .flags = QD_MIXES_TYPES,
};

QD_ELEMENTWISE_OP(qd_op_pow, "Pow", 7, 2, functions, QD_ELEMENTWISE_FIELDS);
