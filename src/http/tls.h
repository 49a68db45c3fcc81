/*
 * The server's certificate, which can be replaced while connections are open: each handshake takes the one that is
 * current then. Belongs to the server's thread, but for qd_tls_check.
 */
#ifndef QD_HTTP_TLS_H
#define QD_HTTP_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "util/status.h"

struct qd_certificate;

struct qd_tls {
    struct qd_certificate *current; /* and behind it those that a handshake may still use */
};

/* Reads certificate (chain) and key, PEM. QD_INVALID (they do not belong together, too), QD_NOT_FOUND, QD_IO: the old
 * stays. */
enum qd_status qd_tls_load(struct qd_tls *tls, const char *cert_path, const char *key_path,
                           struct qd_error *ret_warning, struct qd_error *err);
/* Frees the ones that were replaced before that time. */
void qd_tls_drop_old(struct qd_tls *tls, int64_t before_us);
void qd_tls_done(struct qd_tls *tls);

/* The value of libmicrohttpd's MHD_OPTION_HTTPS_CERT_CALLBACK: a gnutls_certificate_retrieve_function2. */
void *qd_tls_callback(void);

#endif
