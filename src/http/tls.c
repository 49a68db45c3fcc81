#include "http/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/stat.h>

#include "http/internal.h"
#include "util/clock.h"
#include "util/file.h"

#define MAX_FILE_BYTES ((size_t)1 << 20)
#define MAX_CHAIN 16

struct qd_certificate {
    struct qd_certificate *older;
    int64_t replaced_us;
    gnutls_pcert_st chain[MAX_CHAIN];
    unsigned n_chain;
    gnutls_privkey_t key;
};

static void free_certificate(struct qd_certificate *certificate)
{
    if (!certificate)
        return;
    for (unsigned i = 0; i < certificate->n_chain; i++)
        gnutls_pcert_deinit(&certificate->chain[i]);
    if (certificate->key)
        gnutls_privkey_deinit(certificate->key);
    qd_free(certificate);
}

/* A key that is another certificate's would fail in every handshake: found here instead. */
static enum qd_status check_pair(const gnutls_datum_t *cert, const gnutls_datum_t *key, const char *cert_path,
                                 const char *key_path, struct qd_error *err)
{
    gnutls_certificate_credentials_t credentials;
    int code = gnutls_certificate_allocate_credentials(&credentials);

    if (code < 0)
        return qd_error_set(err, QD_NO_MEMORY, "TLS: %s", gnutls_strerror(code));
    code = gnutls_certificate_set_x509_key_mem(credentials, cert, key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    if (code < 0)
        return qd_error_set(err, QD_INVALID,
                            "tls_cert '%s' and tls_key '%s': expected a PEM certificate and its key: %s", cert_path,
                            key_path, gnutls_strerror(code));
    return QD_OK;
}

static enum qd_status parse(struct qd_certificate *certificate, const gnutls_datum_t *cert, const gnutls_datum_t *key,
                            struct qd_error *err)
{
    int code;

    certificate->n_chain = MAX_CHAIN;
    code = gnutls_pcert_list_import_x509_raw(certificate->chain, &certificate->n_chain, cert, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0) {
        certificate->n_chain = 0;
        return qd_error_set(err, QD_INVALID, "tls_cert: %s", gnutls_strerror(code));
    }
    code = gnutls_privkey_init(&certificate->key);
    if (code >= 0)
        code = gnutls_privkey_import_x509_raw(certificate->key, key, GNUTLS_X509_FMT_PEM, NULL, 0);
    return code < 0 ? qd_error_set(err, QD_INVALID, "tls_key: %s", gnutls_strerror(code)) : QD_OK;
}

enum qd_status qd_tls_load(struct qd_tls *tls, const char *cert_path, const char *key_path,
                           struct qd_error *ret_warning, struct qd_error *err)
{
    struct qd_certificate *certificate = NULL;
    struct qd_buf cert = {0}, key = {0};
    gnutls_datum_t cert_datum, key_datum;
    struct stat info;
    enum qd_status status;

    ret_warning->text[0] = 0;
    status = qd_file_read(cert_path, MAX_FILE_BYTES, &cert, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "tls_cert");
    status = qd_file_read(key_path, MAX_FILE_BYTES, &key, err);
    if (status != QD_OK) {
        qd_buf_done(&cert);
        return qd_error_context(err, status, "tls_key");
    }
    cert_datum = (gnutls_datum_t){cert.bytes, (unsigned)cert.size};
    key_datum = (gnutls_datum_t){key.bytes, (unsigned)key.size};
    status = check_pair(&cert_datum, &key_datum, cert_path, key_path, err);
    if (status == QD_OK && !(certificate = qd_alloc(sizeof(*certificate))))
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for a certificate");
    if (status == QD_OK)
        status = parse(certificate, &cert_datum, &key_datum, err);
    if (status == QD_OK) {
        if (tls->current)
            tls->current->replaced_us = qd_now_us();
        certificate->older = tls->current;
        tls->current = certificate;
        if (stat(key_path, &info) == 0 && (info.st_mode & S_IRWXO))
            qd_error_set(ret_warning, QD_OK, "tls_key: '%s' is open to every user: expected mode 640 or less",
                         key_path);
    } else {
        free_certificate(certificate);
    }
    qd_buf_done(&cert);
    qd_buf_done(&key);
    return status;
}

void qd_tls_drop_old(struct qd_tls *tls, int64_t before_us)
{
    struct qd_certificate **place = tls->current ? &tls->current->older : NULL;

    while (place && *place) {
        struct qd_certificate *old = *place;

        if (old->replaced_us >= before_us) {
            place = &old->older;
            continue;
        }
        *place = old->older;
        free_certificate(old);
    }
}

void qd_tls_done(struct qd_tls *tls)
{
    while (tls->current) {
        struct qd_certificate *certificate = tls->current;

        tls->current = certificate->older;
        free_certificate(certificate);
    }
}

/* libmicrohttpd keeps the connection as the session's pointer. */
static int choose(gnutls_session_t session, const gnutls_datum_t *issuers, int n_issuers,
                  const gnutls_pk_algorithm_t *algorithms, int n_algorithms, gnutls_pcert_st **ret_chain,
                  unsigned *ret_n_chain, gnutls_privkey_t *ret_key)
{
    struct qd_certificate *certificate = qd_client_of(gnutls_session_get_ptr(session))->http->tls.current;

    (void)issuers;
    (void)n_issuers;
    (void)algorithms;
    (void)n_algorithms;
    *ret_chain = certificate->chain;
    *ret_n_chain = certificate->n_chain;
    *ret_key = certificate->key;
    return 0;
}

void *qd_tls_callback(void)
{
    static gnutls_certificate_retrieve_function2 *const function = choose;
    void *pointer;

    /* The library takes it through varargs as a pointer to data. */
    memcpy(&pointer, &function, sizeof(pointer));
    return pointer;
}
