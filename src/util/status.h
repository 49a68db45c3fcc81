/*
 * Status and error: how every function that can fail says so.
 *
 * A function returns an enum qd_status and takes a struct qd_error last, which lives on the caller's stack. The first
 * cause wins; callers put context in front ("model 'x': node 'conv1': pads: expected 4 values, found 3").
 * Thread-safe: nothing is shared.
 */
#ifndef QD_UTIL_STATUS_H
#define QD_UTIL_STATUS_H

/* A code exists only where a caller acts differently on it. */
enum qd_status {
    QD_OK = 0,
    QD_INVALID,     /* data from outside breaks its format's rules */
    QD_UNSUPPORTED, /* well-formed, but of a kind that quantd does not handle */
    QD_NOT_FOUND,   /* a named file, model, job or route does not exist */
    QD_TOO_LARGE,   /* a stated limit is exceeded */
    QD_NO_MEMORY,
    QD_IO,          /* the operating system refused: file, disk, socket */
    QD_CONFLICT,    /* already running, already there */
    QD_FULL,        /* a queue is full: try again later */
    QD_DEADLINE,    /* the deadline passed before the work began */
    QD_UNAVAILABLE, /* not ready, or draining */
    QD_CANCELLED,   /* somebody asked for it to stop */
    QD_N_STATUS
};

#define QD_ERROR_TEXT_SIZE 256

struct qd_error {
    char text[QD_ERROR_TEXT_SIZE]; /* empty until the first cause is set */
};

/* Sets the text if none is set yet (err may be NULL) and returns status, so that a check is one statement. */
enum qd_status qd_error_set(struct qd_error *err, enum qd_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the text and returns status. A text too long keeps its beginning and ends in "...". */
enum qd_status qd_error_context(struct qd_error *err, enum qd_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The short name of a status, as it stands in answers and logs: "invalid", "queue_full", ... */
const char *qd_status_name(enum qd_status status);

#endif
