/* Named sets of constraints on what a calibration may choose: what the hardware that will run it can do. */
#ifndef QD_QUANT_PROFILE_H
#define QD_QUANT_PROFILE_H

#include "quant/method.h"

struct qd_profile {
    const char *name;
    struct qd_calibration_form form;
};

/* The row of that name, or NULL; row i, or NULL past the end. Row 0 is the default. */
const struct qd_profile *qd_profile_find(const char *name);
const struct qd_profile *qd_profile_at(int i);

#endif
