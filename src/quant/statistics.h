/*
 * What one fp32 pass over the calibration images finds: the distribution of every tensor, of the channels of some, and
 * second moments of what convolutions and fully connected layers read. Never more activations than of the images in
 * flight. The result depends on the images' contents and order (by hash) alone, not on the threads.
 */
#ifndef QD_QUANT_STATISTICS_H
#define QD_QUANT_STATISTICS_H

#include "op/op.h"
#include "quant/batch.h"
#include "quant/histogram.h"

/*
 * Output positions of each layer at which its input is sampled, over all images; and those at which its output is, for
 * each of the first QD_SWEEP_IMAGES: the same ones in each pass over the images.
 */
#define QD_MOMENT_SAMPLES 4096
#define QD_SWEEP_IMAGES 64
#define QD_TARGET_SAMPLES 16
/* Above so many weights of an output channel the moments are the diagonal alone. */
#define QD_MAX_MOMENT_K 2304

/* A node that is a convolution with constant weights. */
struct qd_layer_statistics {
    int node;
    struct qd_layer layer; /* arrays in the statistics' arena or the graph's */
    int k;                 /* weights of an output channel */
    const float *pad;      /* per input channel, or NULL: 0 */
    bool grouped;          /* a depthwise or grouped convolution: moments are small and one per group */
    int n_samples;
    float *moments; /* [group][k][k], lower triangle: sums of x x^T; NULL: the diagonal alone */
    float *squares; /* [group][k]: sums of x^2 */
    float *
        targets; /* [sweep image][QD_TARGET_SAMPLES][n]: the fp32 output (after its activation) at the first of those */
};

/* Counts of a channel's values: eight bins an octave, of |x|, by sign. */
#define QD_CHANNEL_OCTAVES 28
#define QD_CHANNEL_LOWEST (-18) /* log2 of the lowest bin's edge; smaller values are as good as 0 */
#define QD_CHANNEL_BINS (8 * QD_CHANNEL_OCTAVES)
struct qd_channel_statistics {
    float min, max; /* 0 included */
    uint32_t n[2][QD_CHANNEL_BINS];
};

struct qd_statistics {
    const struct qd_graph *graph;
    struct qd_arena arena;
    int n_images, n_skipped;
    char first_skipped[QD_ERROR_TEXT_SIZE];  /* why the first was, or empty */
    struct qd_histogram *histograms;         /* by value; empty where !qd_is_measured */
    struct qd_channel_statistics **channels; /* by value; NULL where they were not asked for */
    struct qd_layer_statistics *layers;      /* in the nodes' order */
    int n_layers;
    uint64_t *hashes; /* of the images that were read, in order: what positions are drawn from */
    /* The images that stages try things on, as bytes for the input, and what fp32 made of them: the first ones. */
    int n_kept, n_sweep; /* the sweep's: at most QD_SWEEP_IMAGES of them */
    uint8_t **inputs;
    float **outputs; /* of every output of the graph, in front of a trailing Softmax, one after the other */
};

struct qd_statistics_options {
    int n_threads;
    const struct qd_kernels *kernels;
    const struct qd_preprocess *preprocess;
    struct qd_image_limits limits;
    const struct qd_progress *progress;
    bool layers;          /* moments and kept images too, not the tensors' distributions alone */
    const bool *channels; /* by value: whose channels; NULL: none */
};

/* A tensor that calibration gives a scale: floats that a node makes. */
bool qd_is_measured(const struct qd_graph *graph, int value);

/*
 * files in the order of their hashes. QD_INVALID: no picture can be decoded (the text names the first failure), or a
 * tensor holds NaN or infinity (the text names it and the picture). QD_CANCELLED. On failure *ret is empty.
 */
enum qd_status qd_statistics_make(const struct qd_graph *graph, const struct qd_image_file *const *files,
                                  size_t n_files, const struct qd_statistics_options *options,
                                  struct qd_statistics *ret, struct qd_error *err);
void qd_statistics_done(struct qd_statistics *statistics);

/* The statistics of the layer that a node is, or NULL. */
const struct qd_layer_statistics *qd_layer_of(const struct qd_statistics *statistics, int node);

/* Output position number i of a layer in an image, 0 .. out_h * out_w - 1. */
int64_t qd_sample_position(const struct qd_layer_statistics *layer, uint64_t image_hash, int i);
/* How many positions an image gives: at most wanted, at most there are. */
int qd_sample_count(const struct qd_layer_statistics *layer, int wanted);

/*
 * The row of group g that the output position reads, k values in the order of the weights, from an image of [c][h][w]
 * floats, or of [h * w][c] where the layer takes rows.
 */
void qd_sample_row(const struct qd_layer_statistics *layer, const float *image, int64_t position, int group,
                   float *row);
/* What an image of the layer's floats holds at an output position. */
float qd_sample_output(const struct qd_layer_statistics *layer, const float *image, int64_t position, int channel);

/* Elements of the largest activation; at least 1. */
int64_t qd_largest_count(const struct qd_graph *graph);

/*
 * The value that is compared for output i of the graph: itself, or what its Softmax reads; QD_NO_VALUE where it is no
 * float that a node makes.
 */
int qd_logits_of(const struct qd_graph *graph, int output);

#endif
