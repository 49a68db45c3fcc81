/* What the quantized forms of operators share: qparams, requantisation, tables, storage order. */
#ifndef QD_OP_Q8_H
#define QD_OP_Q8_H

#include "op/op.h"

/* The qparams of a value; the graph's pixels have scale 1 and zero point 0. */
struct qd_qparams qd_q8_of(const struct qd_graph *graph, int value);
/* The same for one of its channels: the scale times the channel's step. */
struct qd_qparams qd_q8_channel(const struct qd_graph *graph, int value, int c);
struct qd_qparams qd_q8_input(const struct qd_q8_prepare *prepare, int input);
struct qd_qparams qd_q8_output(const struct qd_q8_prepare *prepare);

/* The largest byte of a tensor: 2^bits - 1. */
int qd_q8_max(struct qd_qparams q);

/* round(real / scale) + zero point, within 0 .. 2^bits - 1. */
uint8_t qd_q8_byte(float real, struct qd_qparams q);

/* A requantisation multiplier with as many significant bits as the graph's multiplier_bits says, rounded to nearest. */
float qd_q8_multiplier(const struct qd_graph *graph, double multiplier);
/* The nearest number of that many significant bits. */
float qd_q8_round_multiplier(double multiplier, int bits);

/* The range of bytes that a fused clip (or none) leaves. */
void qd_q8_clamp(const struct qd_activation *act, struct qd_qparams q, uint8_t *ret_min, uint8_t *ret_max);

/*
 * Fills *ret for a matrix product of input 0 with weights w ([n][k], scale per row): multipliers, offsets (bias, zero
 * points, residual), activation, clamp; for output_f32 real values instead of steps. The output's channel steps are
 * honoured, the input's have to be in the scales. The arrays live in prepare's arena. QD_UNSUPPORTED: an accumulator
 * could pass 2^30 output steps, or channel steps with a residual, a clip that no single byte stands for, or a
 * curve that they are too fine for.
 */
enum qd_status qd_q8_requant(struct qd_q8_prepare *prepare, const int8_t *w, const float *scale, const float *bias,
                             int n, int k, struct qd_requant *ret, struct qd_error *err);

/* A function of one input as a table of 256 bytes: out = byte of f(real of in). */
enum qd_status qd_q8_table_prepare(struct qd_q8_prepare *prepare, float (*f)(const void *context, float x),
                                   const void *context, struct qd_error *err);
/* The same where the function's values are known: y[b] is f of byte b of that input. */
enum qd_status qd_q8_table_of(struct qd_q8_prepare *prepare, int input, const float y[256], struct qd_error *err);
void qd_q8_table_run(const struct qd_q8_run *run, int thread, int n_threads);

/*
 * A line per channel of input 0, in real values: out = in * mult + add, then the node's clip if any. Channels are those
 * of [1,c,h,w], the last dimension of other ranks.
 */
enum qd_status qd_q8_lines_prepare(struct qd_q8_prepare *prepare,
                                   void (*line)(const void *context, int c, double *ret_mult, double *ret_add),
                                   const void *context, struct qd_error *err);
void qd_q8_lines_run(const struct qd_q8_run *run, int thread, int n_threads);

/*
 * Elementwise work over all pixels of a batch, whatever steps its tensors lie in: n_inputs inputs, from first_input, of
 * the shape of output 0, and that. Tensors that are no pictures are taken as ones of one row and one channel.
 */
#define QD_Q8_MAX_INPUTS 2
struct qd_q8_pixels {
    int64_t n, w, c; /* pixels of an image, and how many are a row */
    int64_t span;    /* so many follow each other without a gap in every tensor */
    struct qd_steps in[QD_Q8_MAX_INPUTS], out;
    int n_inputs;
};
void qd_q8_pixels_prepare(const struct qd_q8_prepare *prepare, int first_input, int n_inputs, struct qd_q8_pixels *ret);
/* Calls for each run of n pixels without gaps of this thread's share: pointers to the first one's channel 0. */
void qd_q8_pixels_run(const struct qd_q8_pixels *pixels, const struct qd_q8_run *run, int thread, int n_threads,
                      void (*call)(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n),
                      const void *context);

/* Element strides of a quantized tensor as it lies in memory (pictures: NHWC), by ONNX dimension. */
void qd_q8_strides(const struct qd_value *value, int64_t ret_strides[QD_MAX_DIMS]);

#endif
