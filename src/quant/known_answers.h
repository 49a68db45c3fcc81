/*
 * Known answers: what the int8 network gives for a made-up picture. Made once, by the plain C kernels, when scales are
 * calibrated, and kept with them; whoever loads the scales compares before anything is served. So a machine whose
 * kernels, compiler or memory give other bytes than those that were calibrated is found out.
 */
#ifndef QD_QUANT_KNOWN_ANSWERS_H
#define QD_QUANT_KNOWN_ANSWERS_H

#include "engine/plan.h"
#include "util/hash.h"

/* The hash of the outputs by the scalar kernels. The graph has its scales applied, and pixels. */
enum qd_status qd_known_answers_make(const struct qd_graph *graph, char ret_hex[QD_HASH_HEX_SIZE],
                                     struct qd_error *err);

/*
 * Runs the picture at the first and the last place of a batch of the plan, with n_threads. QD_CONFLICT: at one of them
 * the outputs are not the known ones; the text names the kernels.
 */
enum qd_status qd_known_answers_check(const struct qd_plan *plan, int n_threads, const char *hex, struct qd_error *err);

#endif
