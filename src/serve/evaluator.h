/*
 * The evaluator: once a model serves, its own evaluation pictures run through fp32 and int8 beside serving, at the lowest
 * priority, one model after the other; what they show becomes the model's (qd_model_evaluation). A model that is swapped
 * or unloaded meanwhile is left.
 */
#ifndef QD_SERVE_EVALUATOR_H
#define QD_SERVE_EVALUATOR_H

#include "serve/registry.h"

struct qd_evaluator;

/*
 * Starts its thread. max_images: of a model's evaluation pictures, the first in the order of their contents' hashes; 0:
 * none are evaluated, and *ret is NULL. The registry outlives it.
 */
enum qd_status qd_evaluator_new(struct qd_registry *registry, int max_images, struct qd_evaluator **ret,
                                struct qd_error *err);
/* Gives up what is under way, and does nothing any more. NULL is fine. */
void qd_evaluator_end(struct qd_evaluator *evaluator);
/* Ends it and waits for its thread. NULL is fine. */
void qd_evaluator_free(struct qd_evaluator *evaluator);

#endif
