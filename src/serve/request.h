/*
 * One request for inference: pictures or tensors in, answers and outputs out. The submitter owns it and all that it
 * points to; it may be freed once done() was called, which happens exactly once, from any thread.
 */
#ifndef QD_SERVE_REQUEST_H
#define QD_SERVE_REQUEST_H

#include <pthread.h>

#include "serve/model.h"

#define QD_MAX_BATCH 256
#define QD_N_PRIORITIES 3 /* 0 goes first */
#define QD_NORMAL_PRIORITY 1

enum qd_input_form {
    QD_INPUT_ENCODED, /* a JPEG or PNG each, decoded and preprocessed here */
    QD_INPUT_PIXELS,  /* h * w * c bytes each, as they come out of resizing, channels in the model's order */
    QD_INPUT_VALUES   /* h * w * c floats each: what the ONNX model's input takes */
};

/* What became of one picture. */
struct qd_answer {
    enum qd_status status;
    struct qd_error error; /* where status is not QD_OK */
};

/* One output of all pictures, one after the other. */
struct qd_result {
    enum qd_dtype dtype;
    struct qd_shape shape; /* of one picture, as ONNX has it */
    size_t image_bytes;
    uint8_t *data; /* n_images * image_bytes, NULL before the first picture is done; freed with qd_free */
};

struct qd_request {
    struct qd_model *model; /* what runs it, whatever takes its place meanwhile; a reference of the submitter's */
    int n_images;
    enum qd_input_form form;
    bool channels_last; /* of tensors: NHWC, else NCHW */
    const void *const *bytes;
    const size_t *sizes; /* of tensors: the runner trusts that they are what form, h and w say */
    int h, w;            /* what the network runs at; 0: the model's own */
    int n_outputs;
    const int *outputs; /* which of the graph's outputs are wanted */
    int priority;       /* 0 .. QD_N_PRIORITIES - 1 */
    int64_t timeout_us; /* may only lower the server's deadline; 0: that */
    uint64_t client;    /* requests of one client take turns with those of others */
    size_t limit_bytes; /* of all results together */
    bool (*is_gone)(const struct qd_request *request); /* its client has left; NULL: cannot */
    void (*done)(struct qd_request *request);
    void *context;

    /* filled before done() */
    struct qd_answer *answers; /* n_images, zeroed by the submitter */
    struct qd_result *results; /* n_outputs, zeroed by the submitter */
    int batch_size;            /* the largest batch that held one of its pictures */
    int64_t queue_us, decode_us, compute_us;

    /* private to queue.c, batcher.c and runner.c */
    struct qd_request *next_client; /* the first request of the next client */
    struct qd_request *more;        /* the next request of the same client */
    struct qd_request *last;        /* of the first request of a client: its last one */
    int64_t submitted_us, deadline_us, gone_us; /* gone_us: first seen gone, or 0 */
    int n_started, n_finished;
    pthread_mutex_t results_lock; /* two runners may begin with one request: who makes room for its results */
};

#endif
