/*
 * What the inference routes share: a request that is filled from the body, submitted and waited for. The connection is
 * suspended meanwhile and costs nothing.
 */
#ifndef QD_HTTP_INFER_H
#define QD_HTTP_INFER_H

#include "http/internal.h"

struct qd_v2;

struct qd_infer {
    struct qd_request request;
    struct qd_exchange *exchange;
    void (*reply)(struct qd_exchange *exchange); /* writes the answer once the request is done */
    struct qd_arena arena;                       /* all that the request points to */
    const void **bytes;
    size_t *sizes;
    int n, capacity;
    enum qd_status submitted;
    struct qd_error submit_error;
    /* of the native calls */
    struct qd_buf parts; /* pictures of a multipart body, one after the other */
    bool is_batch;       /* the answer to one bad picture is in its place, not the whole */
    int top_k;
    /* of V2 */
    struct qd_v2 *v2;
    /* Called in the runner's thread once all pictures are done, where the answer takes long to write; or NULL. */
    void (*prepare)(struct qd_infer *infer);
};

/*
 * Makes exchange->infer for that model (name NULL: the only one; version NULL or "": the one served by default), which
 * it pins. Priority, timeout and size come from the query.
 */
enum qd_status qd_infer_new(struct qd_exchange *exchange, const char *name, const char *version,
                            void (*reply)(struct qd_exchange *exchange), struct qd_error *err);

/* One picture, or one picture's part of a tensor. QD_TOO_LARGE past max_images. */
enum qd_status qd_infer_add(struct qd_infer *infer, const void *bytes, size_t size, struct qd_error *err);

/*
 * Notes the form and the size of a tensor that is to come, by its four dimensions, NCHW or NHWC. QD_INVALID: dimensions
 * that the model does not take; QD_TOO_LARGE: too many pictures.
 */
enum qd_status qd_infer_set_shape(struct qd_infer *infer, enum qd_input_form form, const int64_t dims[4],
                                  struct qd_error *err);

/* Its pictures: bytes holds all elements. Copies only where alignment needs it. */
enum qd_status qd_infer_add_tensor(struct qd_infer *infer, const int64_t dims[4], const void *bytes,
                                   struct qd_error *err);

/*
 * A body without a description: a picture that is encoded, or a tensor of as many pictures as its size says, float in
 * the model's order or bytes in NHWC order.
 */
enum qd_status qd_infer_add_raw(struct qd_infer *infer, const void *bytes, size_t size, struct qd_error *err);

/* "1" (high) to "3" (low), "0" or NULL: normal. */
enum qd_status qd_infer_set_priority(struct qd_infer *infer, int64_t priority, struct qd_error *err);

/* Suspends the connection until the batcher is done, or until it has refused. */
enum qd_status qd_infer_submit(struct qd_infer *infer, const int *outputs, int n_outputs, struct qd_error *err);

/* The pictures of a native request by its Content-Type: one, multipart/form-data, JSON with base64, raw. */
enum qd_status qd_pictures_read(struct qd_infer *infer, struct qd_error *err);

#endif
