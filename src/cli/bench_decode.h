/* Real pictures for 'quantd bench --decode': what a server does to them, without HTTP. */
#ifndef QD_CLI_BENCH_DECODE_H
#define QD_CLI_BENCH_DECODE_H

#include "serve/model.h"

/* The encoded files of a folder, in memory, taken in turn. */
struct qd_bench_pictures {
    const struct qd_preprocess *preprocess;
    struct qd_image_limits limits;
    struct qd_image_set set;
    struct qd_buf *files; /* set.n_files */
    size_t next;
    int64_t decode_us, n_decoded; /* the team's time in decoding, and pictures */
};

/* preprocess stays the caller's. QD_INVALID: a picture that cannot be decoded; the text names it. */
enum qd_status qd_bench_pictures_init(const char *folder, const struct qd_preprocess *preprocess,
                                      const struct qd_image_limits *limits, struct qd_bench_pictures *ret,
                                      struct qd_error *err);
void qd_bench_pictures_done(struct qd_bench_pictures *pictures);

/* The next n pictures: decoding and the network in one parallel region, as the batcher runs a batch. */
void qd_bench_pictures_run(struct qd_bench_pictures *pictures, struct qd_frame *frame, int n, int n_threads);

#endif
