/*
 * Made-up pictures for a model that has none: seeded, so the same each time. Good enough to make a plan whose speed is
 * that of the real one; not good enough to serve.
 */
#ifndef QD_SERVE_SYNTHETIC_H
#define QD_SERVE_SYNTHETIC_H

#include "image/image.h"

struct qd_synthetic {
    char folder[64]; /* a temporary one, removed by qd_synthetic_done */
};

enum qd_status qd_synthetic_make(const struct qd_preprocess *preprocess, struct qd_synthetic *ret,
                                 struct qd_error *err);
void qd_synthetic_done(struct qd_synthetic *synthetic);

#endif
