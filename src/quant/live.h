/*
 * What serving sees, held against what was calibrated: pictures that were answered run in fp32 too, and their answers,
 * clipping and distributions are compared. One thread adds pictures; any thread reads meanwhile, without a lock. It
 * points into the graph, the scales and the int8 plan, which must outlive it.
 *
 * Figures are means over a window: of all pictures until it is full, then decaying (each picture counts 1 / window).
 */
#ifndef QD_QUANT_LIVE_H
#define QD_QUANT_LIVE_H

#include "engine/plan.h"
#include "quant/scales.h"

#define QD_AGREEMENT_WINDOW 1000 /* pictures */
#define QD_DRIFT_WINDOW 250      /* of distributions and clipping; shorter, to notice sooner */
#define QD_DRIFT_FEWEST 50       /* a distribution of fewer pictures is chance: no drift is given */
#define QD_DRIFT_VALUES 100      /* nor of fewer values than so many for each class */

/* Bins of a distribution: exact zeros, then those of qd_value_scale's histogram, by |x|. */
#define QD_LIVE_BINS (QD_REPORT_BINS + 1)
/* Neighbours among them are joined until each class holds a tenth of what was calibrated, as is usual for a PSI. */
#define QD_PSI_CLASSES 10
/* Added to every class's share, so that an empty one does not make the index infinite. */
#define QD_PSI_FLOOR 1e-4

struct qd_live;

/*
 * Plan and frame for single pictures, by one thread. QD_UNSUPPORTED: the first output is no float that the network
 * computes. QD_NO_MEMORY.
 */
enum qd_status qd_live_new(const struct qd_graph *graph, const struct qd_scales *scales, const struct qd_plan *int8,
                           struct qd_live **ret, struct qd_error *err);
void qd_live_free(struct qd_live *live); /* NULL is fine */

/* Of the frame and the windows; the plan adds next to nothing. */
size_t qd_live_memory_bytes(const struct qd_live *live);

/*
 * One picture: the bytes of the graph's pixels, and the floats of output 0 that int8 gave for it. goes_on is asked
 * between steps; where it says no, the picture is given up, nothing changes and false is returned. *ret_agrees: the
 * same top class, as qd_compare_outputs has it.
 */
bool qd_live_add(struct qd_live *live, const uint8_t *pixels, const float *answer, bool (*goes_on)(const void *context),
                 const void *context, bool *ret_agrees);

struct qd_live_figures {
    int n_images;     /* that were added, up to the longest window */
    double agreement; /* share 0..1; NAN before the first picture */
    double sqnr_db;   /* of output 0, mean over pictures; NAN where it is a Softmax's: probabilities are no logits */
    double
        drift; /* of the layer that drifts most; NAN before QD_DRIFT_FEWEST pictures, or where nothing was calibrated */
};
void qd_live_read(const struct qd_live *live, struct qd_live_figures *ret);

/* Tensors whose distribution the calibration kept; none for scales that the model brought along. */
int qd_live_n_layers(const struct qd_live *live);
struct qd_live_layer {
    const char *name;
    double saturation; /* share of values beyond the levels; NAN before the first picture, or where int8 keeps floats */
    double baseline;   /* the same of the calibration's pictures; NAN where int8 keeps floats */
    double drift;      /* NAN as above */
};
void qd_live_layer(const struct qd_live *live, int i, struct qd_live_layer *ret);

/* The mean of a window after its n-th value, n from 1. */
double qd_window_add(double mean, int n, int window, double x);

/*
 * Population stability index of two distributions over n classes: sum of (p - q) ln(p / q), symmetric, 0 for equal
 * ones. Each need not sum to 1.
 */
double qd_psi(const double *expected, const double *observed, int n);

/* Which class each of QD_LIVE_BINS bins belongs to, by their shares; how many classes, 1 .. QD_PSI_CLASSES. */
int qd_psi_classes(const double *shares, int *ret_class_of);

/*
 * The shares of n floats, stride apart, in those bins, bounded as the calibration's (qd_bins_halves): half an octave
 * each from histogram_low (a multiple of one half) up, what lies outside in the first and last.
 */
void qd_live_shares(const float *x, int64_t n, int64_t stride, float histogram_low, double *ret);

#endif
