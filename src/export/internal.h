/* What the kinds of integer steps share; nobody else includes this. */
#ifndef QD_EXPORT_INTERNAL_H
#define QD_EXPORT_INTERNAL_H

#include "export/integer.h"
#include "op/op.h"

extern const struct qd_integer_kind qd_integer_layer, qd_integer_max_pool, qd_integer_average_pool, qd_integer_add,
    qd_integer_mul, qd_integer_line, qd_integer_table, qd_integer_copy;

/* How a sum in fixed point becomes a byte. */
enum qd_integer_form { QD_INTEGER_CLAMP, QD_INTEGER_LEAKY, QD_INTEGER_HARDSWISH, QD_INTEGER_CURVE };

/* Fraction bits of t, of a HardSwish's gate, of a curve's values. */
#define QD_INTEGER_T_BITS 12
#define QD_INTEGER_GATE_BITS 15
#define QD_INTEGER_CURVE_BITS 8
#define QD_INTEGER_CURVE_SEGMENTS 256
/* Significant bits of what is a function's own number and not a requantisation. */
#define QD_INTEGER_SLOPE_BITS 15

struct qd_integer_finish {
    enum qd_integer_form form;
    const struct qd_fixed *slope; /* LEAKY: of one; HARDSWISH: by channel */
    int32_t first;                /* CURVE: the first segment's begin, as a t */
    int segment_bits;             /* CURVE: a segment is 2^segment_bits wide */
    int32_t *curve;               /* CURVE: [QD_INTEGER_CURVE_SEGMENTS + 1] */
    int zero_point, clamp_min, clamp_max;
};

/* The finish of a node with n channels. */
enum qd_status qd_integer_finish_make(const struct qd_integer_build *build, const struct qd_node *node, int n,
                                      struct qd_integer_finish *ret, struct qd_error *err);
/* p * 2^-shift is the value in steps of the output, c its channel. */
uint8_t qd_integer_finish_byte(const struct qd_integer_finish *finish, int64_t p, int shift, int c);
bool qd_integer_finish_describe(const struct qd_integer_finish *finish, int n, json_t *json);

/* a * fa + b * fb over 2^(the larger shift), exactly; that shift in *ret_shift. */
int64_t qd_integer_sum(int64_t a, struct qd_fixed fa, int64_t b, struct qd_fixed fb, int *ret_shift);
/* Whether that sum stays within int64 for |a| <= a_max and |b| <= b_max. */
bool qd_integer_sum_fits(double a_max, struct qd_fixed fa, double b_max, struct qd_fixed fb);

/* Channels and pixels of a value: of pictures [1][c][h][w], else the last dimension and the others. */
void qd_integer_pixels(const struct qd_value *value, int64_t *ret_pixels, int *ret_c);
/* Where the element of ONNX's order i lies in the stored order. */
int64_t qd_integer_stored(const struct qd_value *value, int64_t i);

/* Whether the node's int8 form is a table of 256 bytes. */
bool qd_integer_is_table(const struct qd_graph *graph, const struct qd_node *node);

/* The node's function on floats of our choice, without residual and activation: what it does, from its definition. */
enum qd_status qd_integer_probe(const struct qd_integer_build *build, const struct qd_node *node, float *const *in,
                                float *const *out, struct qd_error *err);

/* Arrays of JSON; NULL without memory. */
json_t *qd_integer_multipliers(const struct qd_fixed *fixed, int n);
json_t *qd_integer_shifts(const struct qd_fixed *fixed, int n);
json_t *qd_integer_ints(const int64_t *values, int n);
/* {"offset", "size", "type", "shape"} of elements appended to bin. */
json_t *qd_integer_append(struct qd_buf *bin, const void *data, size_t size, const char *type, json_t *shape);

static inline const uint8_t *qd_integer_in(const struct qd_integer_step *step, void *const *values, int i)
{
    return values[step->inputs[i]];
}

static inline enum qd_status qd_integer_no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for an export");
}

#endif
