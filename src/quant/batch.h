/* Pictures of a set into a frame's inputs, decoded by a team of threads. */
#ifndef QD_QUANT_BATCH_H
#define QD_QUANT_BATCH_H

#include "engine/plan.h"
#include "image/image.h"
#include "quant/progress.h"

/*
 * Reads and preprocesses files[first .. first + n - 1] into inputs (n pointers), n_threads at a time. statuses[i] and
 * errors[i] are each picture's own; a picture that fails leaves its input undefined.
 */
void qd_batch_load(const struct qd_image_file *const *files, int n, const struct qd_preprocess *preprocess,
                   const struct qd_image_limits *limits, int n_threads, uint8_t *const *inputs,
                   enum qd_status *statuses, struct qd_error *errors);

/* Threads that OpenMP would use; 1 without OpenMP. */
int qd_default_threads(void);
/* The number of the calling thread in its team. */
int qd_this_thread(void);

#endif
