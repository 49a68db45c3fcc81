/*
 * How far the long work is: those who do it name their stage and count (qd_progress_step), whoever waits is told the
 * share of the whole and about how long it will take yet, and may stop it. One thread at a time.
 */
#ifndef QD_QUANT_PROGRESS_H
#define QD_QUANT_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/status.h"

struct qd_progress_state {
    const char *stage;  /* "measuring activations" */
    size_t done, total; /* of the stage; total 0: it does not count */
    double share;       /* of all the work, 0 .. 1, never less than before; 1 once, when it is over */
    double seconds;     /* since the work began */
    double eta_seconds; /* NAN: too early to say */
};

#define QD_WORK_STAGES 16

/* The work as a whole: shares that stages take by experience, and where it stands. */
struct qd_work {
    int64_t start_us;
    double weights[QD_WORK_STAGES]; /* as the table of stages */
    int at;                         /* the row that runs */
    double share;
};

struct qd_progress {
    /* Called between batches; a return of false cancels. */
    bool (*step)(void *context, const struct qd_progress_state *state);
    /* Asked more often, by any thread; NULL: never. */
    bool (*is_cancelled)(void *context);
    void *context;
    struct qd_work *work; /* NULL: each stage is a whole by itself */
};

/*
 * Before work on that many images: n_calibration calibrate (0: none), n_compared are run in int8 and fp32. staged, and
 * skipped_stages: as in refine.h, whether stages follow the choice of scales, and which do not.
 */
void qd_work_begin(struct qd_work *work, size_t n_calibration, size_t n_compared, bool staged, unsigned skipped_stages);

/* QD_CANCELLED where the callback says so; a NULL progress or callback never cancels. */
enum qd_status qd_progress_step(const struct qd_progress *progress, const char *stage, size_t done, size_t total,
                                struct qd_error *err);

/* QD_CANCELLED where somebody wants it to stop; says nothing of how far it is. Any thread. */
enum qd_status qd_progress_check(const struct qd_progress *progress, struct qd_error *err);

/* Says that all is over, well or not. */
void qd_progress_end(const struct qd_progress *progress);

#endif
