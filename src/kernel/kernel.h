/*
 * The int8 kernels: every kernel's type and contract. Read this file first. (The float ones, of which the same is
 * true, are in kernel_f32.h.)
 *
 * A kernel gets raw pointers, sizes and a params struct; it knows no tensors and no threads, allocates nothing and
 * cannot fail. Each ISA tier returns the same bytes as scalar for every size and alignment.
 *
 * Formats: activations are u8 with one scale D and zero point Z (real = (byte - Z) * D); weights are s8 in [-127, 127]
 * with a scale per output channel; products are summed in int32 without any saturating intermediate.
 * Names: m output pixels (the rows of A), k the length of a row of A, n output channels; x_stride and steps are in
 * bytes.
 *
 * Slack: every buffer that a kernel reads may be read up to QD_KERNEL_SLACK bytes past its last byte (the values there
 * never reach a result); no kernel writes a byte outside its output.
 */
#ifndef QD_KERNEL_KERNEL_H
#define QD_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/kernel_f32.h"
#include "util/status.h"

#define QD_KERNEL_SLACK 64
/* k * 255 * 127 must stay below 2^31. */
#define QD_KERNEL_MAX_K 66311

enum qd_isa { QD_ISA_SCALAR, QD_ISA_AVX2, QD_ISA_AVXVNNI, QD_ISA_VNNI, QD_ISA_AMX, QD_N_ISA };

/* What happens between the accumulator and the byte; see requant.h for the one formula. */
enum qd_requant_act {
    QD_REQUANT_LINEAR,    /* the clamp does the rest: none, Relu, Clip */
    QD_REQUANT_LEAKY,     /* t < 0 ? t * slope[c] : t */
    QD_REQUANT_HARDSWISH, /* t * min(max(fma(t, slope[c], 0.5), 0), 1); slope = D_out / 6 */
    QD_REQUANT_PIECEWISE, /* a cubic in each of 16 segments: struct qd_piecewise */
    /* The same in steps of one size, then fma(t, slope[c], zero): the output has a step per channel. */
    QD_REQUANT_PIECEWISE_STEPS,
};

/*
 * A function of t, in steps of the output, by 16 cubics over equal segments (SiLU, Sigmoid, Tanh, Gelu, Mish):
 *   u = min(max(fma(t, scale, first), 2^23), 2^23 + 15); the segment s is the low four bits of u as it lies in memory
 *   act(t) = fma(fma(fma(c[3][s], t, c[2][s]), t, c[1][s]), t, c[0][s])
 * first is 2^23 plus a whole number, so that the fma itself rounds to the nearest segment. Segments 0 and 15 go on
 * outwards without end: they are lines, c[3] and c[2] are 0 there. c[0] holds the output's zero point, but for
 * QD_REQUANT_PIECEWISE_STEPS.
 */
struct qd_piecewise {
    float scale, first;
    float c[4][16]; /* by power and segment */
};
#define QD_PIECEWISE_FIRST 8388608.0f /* 2^23: floats from here on are whole numbers */

/*
 * How accumulators become bytes. t is the value in steps of the output:
 *   t = fma(acc, mult[c], offset[c]); with a residual r: t = fma(r, residual_mult, t)
 *   t = act(t); byte = clamp(nearest_even(t + zero), clamp_min, clamp_max)
 * For QD_REQUANT_LINEAR offset[c] holds the output's zero point itself, for QD_REQUANT_PIECEWISE the cubics do: no
 * addition is made.
 * offset[c] holds the bias, the compensation -Z_in * sum(w) * mult[c] and, with a residual, -Z_r * residual_mult.
 * Prepared so that |acc * mult| + |offset| < 2^30 for every possible acc.
 */
struct qd_requant {
    const float *mult;                    /* [n] */
    const float *offset;                  /* [n] */
    const float *slope;                   /* [n], of LEAKY, HARDSWISH, PIECEWISE_STEPS; else any readable array of n */
    float residual_mult;                  /* D_residual / D_out */
    float zero;                           /* the output's zero point, where the activation has a slope */
    const struct qd_piecewise *piecewise; /* where the activation is PIECEWISE or PIECEWISE_STEPS */
    enum qd_requant_act act;
    uint8_t clamp_min;
    uint8_t clamp_max;
};

/* Bytes from one pixel to the next, from row to row and from image to image of an NHWC tensor, which may lie inside a
 * larger one: with padding around it, or as some of the channels of a concatenation. */
struct qd_steps {
    ptrdiff_t x, y, image;
};

/*
 * A convolution as a matrix product of which A is never copied together: the row of A that belongs to the output pixel
 * (image, y, x) is n_runs runs of run_k bytes, run r at
 *   in + image * in_steps.image + y * in_steps.y + x * in_steps.x + run_offset[r].
 * So the convolution's strides are in in_steps, its dilation in run_offset, and its padding lies in memory around the
 * input. A fully connected layer is one pixel and one run.
 *
 * Computes the output pixels [first, first + m), counted row by row through the images, and of them the channels
 * [n_begin, n_end), both multiples of QD_CONV_PANEL, or n_end is n. Sums leave as bytes, or (out_f32 set) as
 * fma(acc, mult[c], offset[c]) without activation.
 */
#define QD_CONV_PANEL 64
struct qd_conv_rows {
    int begin, end;
};
struct qd_conv_params {
    const uint8_t *in;
    struct qd_steps in_steps;
    const ptrdiff_t *run_offset; /* [n_runs] */
    /* NULL, or [n_runs]: in other output rows than these a run is all zeros (padding), and may be left out. */
    const struct qd_conv_rows *run_rows;
    int n_runs, run_k;
    const void *weights; /* packed by conv_pack of the same tier, with the same n, n_runs and run_k */
    int n;               /* output channels in all */
    int n_begin, n_end;
    int out_h, out_w;
    int64_t first;
    int m;
    uint8_t *out; /* pixel (0, 0) of image 0, channel 0; NULL where out_f32 is set */
    struct qd_steps out_steps;
    float *out_f32;          /* m rows of n floats, without gaps */
    const uint8_t *residual; /* NULL, or as out; may be out itself */
    struct qd_steps residual_steps;
    const struct qd_requant *requant; /* arrays of n */
};

/*
 * One convolution with groups == channels and one output channel per input channel, NHWC. Computes output rows
 * [y_begin, y_end) of one image. The padding lies in memory around the input: every tap can be read.
 */
struct qd_depthwise_params {
    const uint8_t *in;        /* tap (0, 0) of output pixel (0, 0) */
    struct qd_steps in_steps; /* from pixel to pixel of the input, strides not included */
    const void *weights;      /* packed by depthwise_pack of the same tier */
    uint8_t *out;             /* output pixel (0, 0) */
    struct qd_steps out_steps;
    const uint8_t *residual; /* NULL, or as out; may be out itself */
    struct qd_steps residual_steps;
    int c, out_w;
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int y_begin, y_end;
    const struct qd_requant *requant; /* arrays of c */
};

/* out[i] = clamp(nearest_even(fma(a[i], a_mult, fma(b[i], b_mult, offset)))): a quantized Add, n bytes. */
struct qd_add_params {
    const uint8_t *a, *b;
    uint8_t *out; /* may be a or b */
    size_t n;
    float a_mult, b_mult, offset;
    uint8_t clamp_min, clamp_max;
};

/*
 * A quantized Mul, element by element: acc = (a - a_zero) * (b - b_zero),
 * byte = clamp(nearest_even(fma(acc, mult, zero))). (By a row that serves all, as in squeeze-and-excite: affine.)
 */
struct qd_mul_params {
    const uint8_t *a, *b;
    uint8_t *out; /* may be a or b */
    size_t n;
    int a_zero, b_zero;
    float mult, zero;
    uint8_t clamp_min, clamp_max;
};

/*
 * A line per channel over m rows of c bytes (a batch normalization, a product with a row, a constant per channel):
 * byte = clamp(nearest_even(fma(in, mult[c], offset[c]))). offset holds the zero points of both sides.
 */
struct qd_affine_params {
    const uint8_t *in;
    uint8_t *out; /* may be in */
    size_t m;
    int c;
    const float *mult, *offset; /* [c] */
    uint8_t clamp_min, clamp_max;
};

/*
 * A pool window, NHWC, output rows [y_begin, y_end) of one image. Taps outside the input are left out; a window with no
 * tap inside gives 0 (max) or out_zero (average).
 */
struct qd_pool_params {
    const uint8_t *in; /* h x w x c */
    struct qd_steps in_steps;
    uint8_t *out; /* out_h x out_w x c */
    struct qd_steps out_steps;
    int h, w, c;
    int out_h, out_w;
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int y_begin, y_end;
    /*
     * Average only: byte = clamp(nearest_even(fma(sum - n_taps * in_zero, mult / divisor, out_zero))), the division in
     * float; the divisor is the number of taps inside, or divisor_all where it is not 0 (count_include_pad). */
    int in_zero, divisor_all;
    float mult, out_zero;
    uint8_t clamp_min, clamp_max;
};

/* The kernels of one tier. Each pointer is set; a tier without an own form of a kernel has that of the tier below. */
struct qd_kernels {
    enum qd_isa isa;
    const char *name; /* "scalar", "avx2", ...: what QUANTD_ISA and --isa take */

    /* Bytes that packed weights take, including their slack; then the packing itself: w is [n][n_runs][run_k] s8. */
    size_t (*conv_pack_size)(int n, int n_runs, int run_k);
    void (*conv_pack)(void *packed, const int8_t *w, int n, int n_runs, int run_k);
    void (*conv)(const struct qd_conv_params *params);

    size_t (*depthwise_pack_size)(int c, int taps);
    void (*depthwise_pack)(void *packed, const int8_t *w, int c, int taps); /* w is [c][kernel_h * kernel_w] */
    void (*depthwise)(const struct qd_depthwise_params *params);

    void (*add)(const struct qd_add_params *params);
    void (*mul)(const struct qd_mul_params *params);
    void (*affine)(const struct qd_affine_params *params);
    void (*max_pool)(const struct qd_pool_params *params);
    void (*average_pool)(const struct qd_pool_params *params);
    /* sums[c] += the sum over m rows of c bytes, stride apart; the caller zeroes sums. Exact while m * 255 < 2^31. */
    void (*sum_rows)(const uint8_t *in, ptrdiff_t stride, size_t m, int c, int32_t *sums);
    /* m rows of c bytes, each groups groups of channels: out[i * groups + j] = in[j * (c / groups) + i]. */
    void (*shuffle)(const uint8_t *in, uint8_t *out, size_t m, int c, int groups);
    /* out[i] = table[in[i]]; out may be in. */
    void (*lookup)(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256]);
    /* out[i] = clamp(nearest_even(fma(in[i], inverse_scale, zero)), 0, 255); NaN gives 0. */
    void (*quantize)(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero);
    /* out[i] = (in[i] - zero) * scale, the subtraction in int. */
    void (*dequantize)(const uint8_t *in, float *out, size_t n, float scale, int zero);
    /*
     * The tier's multiply-accumulates with nothing else to wait for: how fast a product could be at most. Runs that
     * many iterations, returns how many were made; *sink keeps the compiler from leaving them out.
     */
    int64_t (*peak)(int64_t iterations, int32_t *sink);

    const struct qd_kernels_f32 *f32;
};

/*
 * The kernels of the best tier that this CPU has, or of the one that the environment variable QUANTD_ISA names (a tier
 * by name; above what the CPU has: QD_UNSUPPORTED; unknown: QD_INVALID with the known ones listed). Thread-safe.
 */
enum qd_status qd_kernels_init(const struct qd_kernels **ret, struct qd_error *err);

/* The same by name (NULL or empty: the best), for --isa. */
enum qd_status qd_kernels_named(const char *name, const struct qd_kernels **ret, struct qd_error *err);

/* The kernels of a tier, or NULL where it is not built or this CPU lacks it. */
const struct qd_kernels *qd_kernels_of(enum qd_isa isa);

/* "scalar, avx2": the tiers' names, or only those that this CPU has, into text; returns text. */
const char *qd_isa_list(char *text, size_t text_size, bool only_present);

/* The tier's name, also where the CPU lacks it. */
const char *qd_isa_name(enum qd_isa isa);

#endif
