#include "op/elementwise.h"

#define WHERE_ROW(name, type)                                                                                          \
    static void name(const struct qd_row *row)                                                                         \
    {                                                                                                                  \
        const uint8_t *condition = row->in[0];                                                                         \
        const type *a = row->in[1], *b = row->in[2];                                                                   \
        type *y = row->out;                                                                                            \
                                                                                                                       \
        for (int64_t i = 0; i < row->n; i++)                                                                           \
            y[i] = condition[i * row->stride[0]] ? a[i * row->stride[1]] : b[i * row->stride[2]];                      \
    }

WHERE_ROW(where_1, uint8_t)
WHERE_ROW(where_4, uint32_t)
WHERE_ROW(where_8, uint64_t)

/* Elements are moved, not looked at: a row per size. */
static const struct qd_elementwise functions = {
    .rows = {[QD_F32] = where_4,
             [QD_U8] = where_1,
             [QD_S8] = where_1,
             [QD_I32] = where_4,
             [QD_I64] = where_8,
             [QD_BOOL] = where_1},
    .typed_by = 1,
};

QD_ELEMENTWISE_OP(qd_op_where, "Where", 9, 3, functions, QD_ELEMENTWISE_F32_FIELDS);
