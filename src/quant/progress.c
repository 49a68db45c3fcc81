#include "quant/progress.h"

#include <math.h>
#include <string.h>

#include "quant/refine.h"
#include "util/clock.h"

#define LEAST_SHARE 0.02 /* before that no time can be told */

enum images { NO_IMAGES, CALIBRATION, COMPARED };

/*
 * In the order that they come. What a stage takes, in units of measuring one image: fixed, and for each image of a
 * kind; as measured on networks of 1 to 350 M multiply-accumulates, where most came within a factor of two.
 */
static const struct {
    const char *name;
    double fixed, per_image;
    enum images images;
    bool staged; /* part of refine.h */
    bool counts; /* what it counts is its share; else others count inside it */
} stages[] = {
    {"measuring activations", 5, 1, CALIBRATION, false, true},
    {"choosing scales", 4, 0.1, CALIBRATION, false, false},
    {"weights", 50, 0.05, CALIBRATION, true, false},
    {"channel steps", 30, 0, CALIBRATION, true, false},
    {"equalisation", 45, 0, CALIBRATION, true, false},
    {"greedy scales", 20, 0.05, CALIBRATION, true, false},
    {"bias correction", 12, 0.05, CALIBRATION, true, false},
    {"global", 2, 0, CALIBRATION, true, false},
    {"measuring sensitivity", 90, 0, CALIBRATION, true, true},
    {"trying scales", 5, 2.9, CALIBRATION, true, true},
    {"class scale", 1, 0.2, CALIBRATION, true, false},
    {"comparing int8 with fp32", 0, 0.4, COMPARED, false, true},
    {"measuring layers", 12, 0, CALIBRATION, false, true},
};
_Static_assert(sizeof(stages) / sizeof(stages[0]) <= QD_WORK_STAGES, "as many weights as stages");

static int find_row(const char *name)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(stages); i++)
        if (strcmp(stages[i].name, name) == 0)
            return (int)i;
    return -1;
}

void qd_work_begin(struct qd_work *work, size_t n_calibration, size_t n_compared, bool staged, unsigned skipped_stages)
{
    double counts[] = {0, (double)n_calibration, (double)n_compared};
    bool skips_last = false; /* the stages' own stages go with the row before them */

    memset(work, 0, sizeof(*work));
    work->start_us = qd_now_us();
    for (size_t i = 0; i < QD_ARRAY_SIZE(stages); i++) {
        double n = counts[stages[i].images];

        for (int s = 0; qd_stage_name(s); s++)
            if (strcmp(qd_stage_name(s), stages[i].name) == 0)
                skips_last = skipped_stages >> s & 1;
        if (n > 0 && (!stages[i].staged || (staged && !skips_last)))
            work->weights[i] = stages[i].fixed + n * stages[i].per_image;
    }
}

/* The share of the whole at done of total of a stage; moves on to its row. */
static void advance(struct qd_work *work, struct qd_progress_state *state)
{
    int row = find_row(state->stage);
    bool is_inside = row < 0; /* it counts for the row that runs */
    double before = 0, all = 0, part, share;

    if (row >= 0)
        work->at = row;
    else
        state->stage = stages[work->at].name;
    if (!is_inside && !stages[work->at].counts)
        state->done = state->total = 0;
    part = state->total ? (double)state->done / (double)state->total : 0;
    for (size_t i = 0; i < QD_ARRAY_SIZE(stages); i++) {
        before += (int)i < work->at ? work->weights[i] : 0;
        all += work->weights[i];
    }
    share = all > 0 ? (before + part * work->weights[work->at]) / all : part;
    work->share = fmin(fmax(work->share, share), 0.999);
    state->share = work->share;
    state->seconds = (double)(qd_now_us() - work->start_us) / 1e6;
    if (work->share >= LEAST_SHARE)
        state->eta_seconds = state->seconds * (1 - work->share) / work->share;
}

enum qd_status qd_progress_step(const struct qd_progress *progress, const char *stage, size_t done, size_t total,
                                struct qd_error *err)
{
    struct qd_progress_state state = {.stage = stage,
                                      .done = done,
                                      .total = total,
                                      .share = total ? (double)done / (double)total : 0,
                                      .eta_seconds = (double)NAN};

    if (!progress || !progress->step)
        return QD_OK;
    if (progress->work)
        advance(progress->work, &state);
    if (!progress->step(progress->context, &state))
        return qd_error_set(err, QD_CANCELLED, "cancelled while %s", stage);
    return QD_OK;
}

enum qd_status qd_progress_check(const struct qd_progress *progress, struct qd_error *err)
{
    if (progress && progress->is_cancelled && progress->is_cancelled(progress->context))
        return qd_error_set(err, QD_CANCELLED, "cancelled");
    return QD_OK;
}

void qd_progress_end(const struct qd_progress *progress)
{
    struct qd_progress_state state = {.stage = "finishing", .share = 1};

    if (!progress || !progress->step)
        return;
    if (progress->work)
        state.seconds = (double)(qd_now_us() - progress->work->start_us) / 1e6;
    progress->step(progress->context, &state);
}
