/* Who may call what changes state, and which pages of other origins may read answers. */
#ifndef QD_HTTP_ACCESS_H
#define QD_HTTP_ACCESS_H

#include <stdbool.h>

#include "util/hash.h"
#include "util/status.h"

struct qd_exchange;

/* The admin token, as a hash: what is compared has one length, whatever came. */
struct qd_token {
    bool is_set;
    struct qd_hash hash;
};

/*
 * Reads the file: one line of 16 characters at least, blanks around it do not count. An empty path: no token.
 * QD_INVALID, QD_NOT_FOUND, QD_IO: *token is as it was. warning is "" or says what is unwise about the file.
 */
enum qd_status qd_token_read(struct qd_token *token, const char *path, struct qd_error *ret_warning,
                             struct qd_error *err);

/* Answers 401 or 403 if this call changes state and may not. */
void qd_access_check(struct qd_exchange *exchange);

/* cors_origin: "", "*" or scheme://host[:port]. */
enum qd_status qd_origin_check(const char *origin, struct qd_error *err);

/* The value of Access-Control-Allow-Origin for this request, or NULL. */
const char *qd_access_origin(const struct qd_exchange *exchange);

#endif
