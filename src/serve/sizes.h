/*
 * A model at the sizes that are asked for: a plan and a frame for each, the last few kept. For networks whose height
 * and width are free. Owned by one thread (a runner, a command): no locks.
 */
#ifndef QD_SERVE_SIZES_H
#define QD_SERVE_SIZES_H

#include "serve/model.h"

#define QD_MAX_SIZES 8 /* plans that are kept; the one unused for longest goes first */
#define QD_MAX_SIZES_BYTES ((size_t)512 << 20) /* of the frames of all sizes but the model's own */

struct qd_sizes;

/* Takes its own reference to the model. options: batch, kernels and threads of the plans and frames to come. */
enum qd_status qd_sizes_new(struct qd_model *model, const struct qd_model_options *options, struct qd_sizes **ret,
                            struct qd_error *err);
void qd_sizes_free(struct qd_sizes *sizes);

/*
 * The plan and the frame for h x w (0 x 0: the model as it is), good until the next call. Errors as
 * qd_model_resized's; what is kept stays.
 */
enum qd_status qd_sizes_get(struct qd_sizes *sizes, int h, int w, const struct qd_model **ret_model,
                            struct qd_frame **ret_frame, struct qd_error *err);

/* How many plans are kept. */
int qd_sizes_count(const struct qd_sizes *sizes);

#endif
