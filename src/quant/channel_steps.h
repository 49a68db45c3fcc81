/* adlq's channel steps: a step per channel of an activation, where the multipliers around it can take it up for free.
 */
#ifndef QD_QUANT_CHANNEL_STEPS_H
#define QD_QUANT_CHANNEL_STEPS_H

#include "quant/method.h"
#include "quant/statistics.h"

/* Whether the value could have channel steps: its maker and all its readers can take them up, in that form. */
bool qd_takes_channel_steps(const struct qd_graph *graph, int value, const struct qd_calibration_form *form);

/*
 * Chooses steps [c] (largest 1) and q for the value, of which the statistics have the channels: least estimated error
 * at the outputs of its readers, from rounding the activation and, where a reader is dense, from rounding weights that
 * take the steps up. Other readers take them into their multipliers, for free. dense_readers: whether values that a
 * dense layer reads are wanted, or those that none does. *ret_found: false where one step for all is as good (within 5
 * %), or the value is not of the kind wanted.
 */
enum qd_status qd_channel_steps_choose(const struct qd_statistics *statistics, int value, bool dense_readers,
                                       const struct qd_calibration_form *form, struct qd_qparams now,
                                       struct qd_qparams *ret_q, float *ret_steps, bool *ret_found,
                                       struct qd_error *err);

#endif
