#include <math.h>

#include "op/elementwise.h"

/* fmod 1: the sign is a's, as in C. fmod 0 (integers only): b's, as in Python. node->params is there for fmod 1. */
static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    int64_t fmod;
    enum qd_status status = qd_node_attr_int(node, "fmod", 0, &fmod, err);

    (void)graph;
    node->params = status == QD_OK && fmod ? node : NULL;
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    if (!node->params && graph->values[node->inputs[0]].dtype == QD_F32)
        return qd_error_set(err, QD_INVALID, "fmod: expected 1 for floats, found 0");
    return qd_elementwise_infer(graph, node, err);
}

QD_ROW_2(mod_f32, float, float, fmodf(a, b))

/* What has no result is 0. */
static inline int64_t remainder_of(int64_t a, int64_t b, bool sign_of_b)
{
    int64_t r = b == 0 || b == -1 ? 0 : a % b;

    return sign_of_b && r && (r < 0) != (b < 0) ? r + b : r;
}

#define MOD_ROW(name, type)                                                                                            \
    static void name(const struct qd_row *row)                                                                         \
    {                                                                                                                  \
        const type *a = row->in[0], *b = row->in[1];                                                                   \
        type *y = row->out;                                                                                            \
                                                                                                                       \
        for (int64_t i = 0; i < row->n; i++)                                                                           \
            y[i] = (type)remainder_of(a[i * row->stride[0]], b[i * row->stride[1]], !row->params);                     \
    }

MOD_ROW(mod_u8, uint8_t)
MOD_ROW(mod_s8, int8_t)
MOD_ROW(mod_i32, int32_t)
MOD_ROW(mod_i64, int64_t)

static const struct qd_elementwise functions = {.rows = {[QD_F32] = mod_f32, QD_INTEGER_ROWS_OF(mod)}};

const struct qd_op qd_op_mod = {
    .name = "Mod",
    .limits = "int8: one constant",
    .min_opset = 10,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .functions = &functions,
    .parse = parse,
    .infer = infer,
    QD_ELEMENTWISE_FIELDS,
};
