/*
 * The plan: a graph made ready to run. Precision per node, packed weights, sizes and places fixed. And the frame: one
 * runner's memory.
 *
 * A plan is immutable and shared without locks, but for qd_plan_prepare_again; it points into its graph, which must
 * outlive it. A frame belongs to one run at a time. Running allocates nothing and cannot fail.
 */
#ifndef QD_ENGINE_PLAN_H
#define QD_ENGINE_PLAN_H

#include "graph/graph.h"
#include "kernel/kernel.h"
#include "util/buf.h"

struct qd_plan;
struct qd_frame;

struct qd_plan_options {
    enum qd_precision precision; /* F32: everything in float (calibration, reference); Q8: as the qparams allow */
    int max_batch;               /* images per run */
    const struct qd_kernels *kernels;
    bool keep_all; /* every value stays readable after a run (calibration, reports): no memory shared */
    bool blocks; /* F32: pictures lie in blocks of channels from step to step where the operators can, which is faster;
                    qd_frame_read_f32 reads them */
    bool in_order; /* step by step over all images, nothing depth first: a calibration looks and changes things between
                      steps */
};

/* The value that stands for an output where results are compared: what a last Softmax reads, else the output itself. */
int qd_logits_value(const struct qd_graph *graph, int output);

/*
 * Q8 needs qparams on the values (qd_scales_apply); the graph's pixels are always raw bytes with scale 1, zero point 0.
 * Values without qparams, and nodes that cannot, run in f32 with conversion steps between.
 */
enum qd_status qd_plan_new(const struct qd_graph *graph, const struct qd_plan_options *options, struct qd_plan **ret,
                           struct qd_error *err);
void qd_plan_free(struct qd_plan *plan);

/*
 * Prepares the node of a Q8 step anew from its graph, whose scales, weights or biases of this node changed since; only
 * with in_order (else QD_INVALID), while no other thread uses the plan. Where the scale of a value changed, its maker
 * and all its readers need it, before they run next. QD_UNSUPPORTED: not with these scales; the step is as it was. The
 * memory of the former preparation is given back. Frames of the plan stay good.
 */
enum qd_status qd_plan_prepare_again(struct qd_plan *plan, int step, struct qd_error *err);

/* What a step is, for listings, profiles and reports. */
enum qd_step_kind { QD_STEP_Q8, QD_STEP_F32, QD_STEP_QUANTIZE, QD_STEP_DEQUANTIZE, QD_STEP_PIXELS, QD_STEP_PAD };
struct qd_step_info {
    enum qd_step_kind kind;
    const struct qd_node *node; /* NULL for conversions */
    int value;                  /* the first value it makes */
    const char *name;           /* the node's, or the value's */
    int64_t macs;               /* per image */
    const char *why_f32;        /* why a node runs in float, or NULL */
};
int qd_plan_n_steps(const struct qd_plan *plan);
/* Nodes that could be int8 but for their scales (or their padding's size), and run in float. */
int qd_plan_n_refused(const struct qd_plan *plan);
void qd_plan_step(const struct qd_plan *plan, int i, struct qd_step_info *ret);
const char *qd_step_kind_name(enum qd_step_kind kind);

/* Whether a run keeps the value as bytes at all: rounded to the levels of its scale. */
bool qd_plan_has_q8(const struct qd_plan *plan, int value);

const struct qd_graph *qd_plan_graph(const struct qd_plan *plan);
const struct qd_kernels *qd_plan_kernels(const struct qd_plan *plan);
int qd_plan_max_batch(const struct qd_plan *plan);
size_t qd_plan_memory_bytes(const struct qd_plan *plan); /* weights and the plan itself */
size_t qd_plan_frame_bytes(const struct qd_plan *plan, int n_threads);
int64_t qd_plan_macs(const struct qd_plan *plan, bool only_q8);

/* h x w x c of the picture (graphs with pixels only), and floats per image of output i. */
void qd_plan_input_size(const struct qd_plan *plan, int *ret_h, int *ret_w, int *ret_c);
int64_t qd_plan_output_count(const struct qd_plan *plan, int output);

/* n_threads: how many threads will run it together, at most. */
enum qd_status qd_frame_new(const struct qd_plan *plan, int n_threads, struct qd_frame **ret, struct qd_error *err);
void qd_frame_free(struct qd_frame *frame);

/* Where image i's h*w*c bytes (NHWC, channels in the model's order) are written before a run: the graph's pixels. */
uint8_t *qd_frame_input(struct qd_frame *frame, int image);
/* Where image i's elements of an input that is not the pixels are written, of its type, in the order of its shape. */
void *qd_frame_input_elements(struct qd_frame *frame, int input, int image);
/* After a run: output's floats (elements, where its type is another) of image i, in the order of the ONNX shape. */
const float *qd_frame_output(const struct qd_frame *frame, int output, int image);

/*
 * Runs images 0 .. n_images - 1 with n_threads OpenMP threads in one parallel region. n_threads at most the frame's.
 * Where other processes keep the cores busy it may take one thread alone; the outputs are the same.
 */
void qd_frame_run(struct qd_frame *frame, int n_images, int n_threads);

/*
 * How many of n_threads the next run had better have: all, or one where the cores are contended. The run counts from
 * here: whatever the same threads do before qd_frame_run_share, decoding say, belongs to it.
 */
int qd_frame_team(struct qd_frame *frame, int n_threads);

/*
 * One step alone, on whatever lies in the frame: for benchmarks of single layers, after a whole run; and with in_order
 * all steps one by one, from the first to the last, are a run.
 */
void qd_frame_run_step(struct qd_frame *frame, int step, int n_images, int n_threads);

/*
 * The same as qd_frame_run from inside a parallel region that is already open: EVERY thread of the team calls it with
 * its number. Returns in each thread once all outputs are written. The caller has a barrier between writing inputs and
 * this.
 */
void qd_frame_run_share(struct qd_frame *frame, int n_images, int thread, int n_threads);

/*
 * With keep_all: value's elements of one image after a run: f32 in ONNX order where a float form exists (else NULL;
 * also where it lies in blocks), or a copy of its bytes in ret (NHWC without gaps) where a quantized form exists (else
 * false).
 */
const float *qd_frame_value_f32(const struct qd_frame *frame, int value, int image);
bool qd_frame_copy_q8(const struct qd_frame *frame, int value, int image, uint8_t *ret);

/*
 * The same floats in ONNX order whatever their order in the frame: where they lie, or in room, which holds as many (a
 * room per thread). NULL: the value has no float form.
 */
const float *qd_frame_read_f32(const struct qd_frame *frame, int value, int image, float *room);

/*
 * With in_order, between two steps. Bytes of a Q8 step's input as that step is about to read it: NHWC without gaps (the
 * value's own h * w * c, no padding); false for other steps and where the input is absent or constant.
 */
bool qd_frame_copy_step_input(const struct qd_frame *frame, int step, int input, int image, uint8_t *ret);
/* The same of what a step that has just run made first; false where it leaves floats. */
bool qd_frame_copy_step_output(const struct qd_frame *frame, int step, int image, uint8_t *ret);
/* Floats in ONNX order, or NULL where it leaves bytes. */
const float *qd_frame_step_output_f32(const struct qd_frame *frame, int step, int image);

/* Time per step of the last runs, microseconds summed since qd_frame_profile(frame, true); steps indexed as the plan's.
 */
void qd_frame_profile(struct qd_frame *frame, bool on);
int64_t qd_frame_step_ns(const struct qd_frame *frame, int step);

/* What the tier's multiply-accumulate units give at most with that many threads, measured now (some 100 ms). */
double qd_peak_macs_per_second(const struct qd_kernels *kernels, int n_threads);

#endif
