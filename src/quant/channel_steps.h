/* adlq's channel steps: a step per channel of an activation, where the multipliers around it can take it up for free.
 */
#ifndef QD_QUANT_CHANNEL_STEPS_H
#define QD_QUANT_CHANNEL_STEPS_H

#include "quant/step_classes.h"

/* What was found for a class: by its values' places. */
struct qd_class_steps {
    bool found;
    struct qd_qparams *q;
    float **steps; /* [c], the largest 1; NULL: all channels of that value have one */
};

/*
 * Chooses the steps of a class, of whose values the statistics have the channels: least estimated error at the outputs
 * of its readers, from rounding the activations and, where a reader is dense, from rounding weights that take the steps
 * up. Other readers take them into their multipliers, for free. dense_readers: whether classes that a dense layer reads
 * are wanted, or those that none does. ret->found is false where one step for all is as good (within 5 %), or the class
 * is not of the kind wanted; what else *ret has lives in the arena.
 */
enum qd_status qd_channel_steps_choose(const struct qd_statistics *statistics, const struct qd_step_class *class,
                                       bool dense_readers, const struct qd_calibration_form *form,
                                       struct qd_arena *arena, struct qd_class_steps *ret, struct qd_error *err);

#endif
