/* gzip and deflate: of request bodies as they arrive, of answers as a whole. One thread per decoder. */
#ifndef QD_HTTP_ENCODING_H
#define QD_HTTP_ENCODING_H

#include <stdbool.h>

#include "util/buf.h"

struct qd_decoder;

/* What Accept-Encoding of a 415 says. */
#define QD_ENCODINGS "gzip, deflate"

/* *ret is NULL for a body as it is (name NULL or identity). QD_UNSUPPORTED: another encoding; QD_NO_MEMORY. */
enum qd_status qd_decoder_new(const char *name, struct qd_decoder **ret, struct qd_error *err);
void qd_decoder_free(struct qd_decoder *decoder);

/*
 * Appends what the next piece of the body gives. QD_TOO_LARGE: more than body takes, or more than that much came in;
 * QD_INVALID: not of that encoding; afterwards no more may be added.
 */
enum qd_status qd_decoder_add(struct qd_decoder *decoder, const void *bytes, size_t size, struct qd_buf *body,
                              struct qd_error *err);

/* The body is over. QD_INVALID: in the middle of its stream. */
enum qd_status qd_decoder_finish(const struct qd_decoder *decoder, struct qd_error *err);

/* Whether the header Accept-Encoding (or NULL) lets an answer be gzip: RFC 9110, section 12.5.3. */
bool qd_accepts_gzip(const char *accept_encoding);

/* malloc'd bytes, and their number in *size; NULL where nothing is gained. */
void *qd_gzip(const void *bytes, size_t *size);

#endif
