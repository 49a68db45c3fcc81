/* The first look at a request: its line and headers, before its body. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/internal.h"

/* What the checks look at. */
struct head {
    struct qd_exchange *exchange;
    const char *method, *path, *version;
};

static bool is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A NUL would end a name early; a percent sign without digits is read differently by everybody. */
static void check_escapes(const struct head *head)
{
    const char *uri = head->exchange->uri ? head->exchange->uri : "";

    for (const char *c = strchr(uri, '%'); c; c = strchr(c + 1, '%')) {
        char text[96];

        if (is_hex_digit(c[1]) && is_hex_digit(c[2]) && (c[1] != '0' || c[2] != '0'))
            continue;
        snprintf(text, sizeof(text), "path: expected %%01 to %%FF, found '%.3s' at character %d", c, (int)(c - uri));
        qd_reply_error_as(head->exchange, 400, qd_status_name(QD_INVALID), text);
        return;
    }
}

/*
 * The library takes the path to end at a NUL, and has its text where it came: between the first character and the
 * version there is the path and one blank. Its versions from 1.0 on refuse such a line themselves.
 */
static void check_line(const struct head *head)
{
#if MHD_VERSION < 0x01000000
    const char *uri = head->exchange->uri ? head->exchange->uri : "";

    if (!strchr(uri, ' ') && (head->version <= head->path || head->version == head->path + strlen(uri) + 1))
        return;
    head->exchange->must_close = true;
    qd_reply_error_as(head->exchange, 400, qd_status_name(QD_INVALID),
                      "request line: expected 'METHOD PATH HTTP/1.1', found a NUL or another blank");
#else
    (void)head;
#endif
}

static void check_sizes(const struct head *head)
{
    size_t limit = head->exchange->http->options.max_header_bytes;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(head->exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    char text[128];

    if (head->exchange->uri && strlen(head->exchange->uri) > limit / 2) {
        snprintf(text, sizeof(text), "path: expected at most %zu bytes (half of max_header_bytes), found %zu",
                 limit / 2, strlen(head->exchange->uri));
        qd_reply_error_as(head->exchange, 414, qd_status_name(QD_TOO_LARGE), text);
    } else if (info && info->header_size > limit) {
        snprintf(text, sizeof(text), "headers: expected at most %zu bytes (max_header_bytes), found %zu", limit,
                 info->header_size);
        qd_reply_error_as(head->exchange, 431, qd_status_name(QD_TOO_LARGE), text);
    }
}

/* Headers of which a second one, or another value, makes two readers see two requests. */
struct singles {
    const char *content_length, *transfer_encoding, *twice;
    bool is_broken; /* a header that is none by RFC 9110: a name of other characters, a value with control characters */
    int n_host, n_length, n_encoding, n_authorization, n_content_encoding;
};

static bool is_token(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)name[i]) && (!name[i] || !strchr("!#$%&'*+-.^_`|~", name[i])))
            return false;
    return size > 0;
}

static bool has_control(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)value[i] < 32 && value[i] != '\t') || value[i] == 127)
            return true;
    return false;
}

static enum MHD_Result count_single(void *context, enum MHD_ValueKind kind, const char *name, size_t name_size,
                                    const char *value, size_t value_size)
{
    struct singles *singles = context;
    const struct {
        const char *name;
        int *n;
    } rows[] = {{"Host", &singles->n_host},
                {"Content-Length", &singles->n_length},
                {"Transfer-Encoding", &singles->n_encoding},
                {"Authorization", &singles->n_authorization},
                {"Content-Encoding", &singles->n_content_encoding}};

    (void)kind;
    singles->is_broken |= !is_token(name, name_size) || has_control(value, value_size);
    for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++) {
        if (strcasecmp(name, rows[i].name) != 0)
            continue;
        if (++*rows[i].n > 1)
            singles->twice = rows[i].name;
        if (rows[i].n == &singles->n_length)
            singles->content_length = value;
        else if (rows[i].n == &singles->n_encoding)
            singles->transfer_encoding = value;
    }
    return MHD_YES;
}

/* Where the body ends must not be a matter of opinion: a proxy in front may have another one. */
static void check_framing(const struct head *head)
{
    struct qd_exchange *exchange = head->exchange;
    struct singles singles = {0};
    char text[160] = "";
    int status = 400;

    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, count_single, &singles);
    if (singles.is_broken)
        snprintf(text, sizeof(text), "headers: expected names of letters, digits and -, and values without control characters");
    else if (singles.twice)
        snprintf(text, sizeof(text), "%s: expected one, found several", singles.twice);
    else if (singles.n_encoding && singles.n_length)
        snprintf(text, sizeof(text), "expected Content-Length or Transfer-Encoding, found both");
    else if (!singles.n_host && strcmp(head->version, "HTTP/1.1") == 0)
        snprintf(text, sizeof(text), "Host: expected one, found none");
    else if (singles.n_encoding && strcasecmp(singles.transfer_encoding, "chunked") != 0) {
        snprintf(text, sizeof(text), "Transfer-Encoding: expected chunked, found '%.60s'", singles.transfer_encoding);
        status = 501;
    }
    if (!text[0])
        return;
    exchange->must_close = true;
    qd_reply_error_as(exchange, status, status == 501 ? "not_implemented" : qd_status_name(QD_INVALID), text);
}

/* OPTIONS: what a path takes; a browser's preflight. */
static void answer_options(struct qd_exchange *exchange)
{
    exchange->is_preflight = qd_exchange_header(exchange, "Access-Control-Request-Method") != NULL;
    qd_reply_text(exchange, 204, NULL, "", 0);
}

static void check_route(const struct head *head)
{
    struct qd_exchange *exchange = head->exchange;
    bool is_options = strcmp(head->method, "OPTIONS") == 0;
    char text[QD_ERROR_TEXT_SIZE];

    exchange->route = qd_route_find(head->method, head->path, exchange->arguments, exchange->allow);
    if (exchange->route)
        return;
    if (is_options && strcmp(head->path, "*") == 0)
        snprintf(exchange->allow, sizeof(exchange->allow), "GET, HEAD, POST, DELETE, OPTIONS");
    if (!exchange->allow[0]) {
        snprintf(text, sizeof(text), "unknown path '%.100s'", head->path);
        qd_reply_error_as(exchange, 404, qd_status_name(QD_NOT_FOUND), text);
    } else if (is_options) {
        answer_options(exchange);
    } else {
        snprintf(text, sizeof(text), "%.20s is not allowed on '%.100s', only %s", head->method, head->path,
                 exchange->allow);
        qd_reply_error_as(exchange, 405, "method_not_allowed", text);
    }
}

/* Whoever expects what we do not know of would wait for it. */
static void check_expect(const struct head *head)
{
    const char *expects = qd_exchange_header(head->exchange, "Expect");
    char text[128];

    if (!expects || strcasecmp(expects, "100-continue") == 0)
        return;
    head->exchange->must_close = true;
    snprintf(text, sizeof(text), "Expect: expected 100-continue, found '%.60s'", expects);
    qd_reply_error_as(head->exchange, 417, "expectation_failed", text);
}

static void check_access(const struct head *head)
{
    qd_access_check(head->exchange);
}

static void check_body(const struct head *head)
{
    struct qd_exchange *exchange = head->exchange;
    const char *length = qd_exchange_header(exchange, "Content-Length");
    struct qd_error err = {""};
    enum qd_status status;

    if (exchange->route->is_inference && !length && !qd_exchange_header(exchange, "Transfer-Encoding")) {
        qd_reply_error_as(exchange, 411, "length_required",
                          "expected a body with Content-Length or 'Transfer-Encoding: chunked', found neither");
        return;
    }
    status = qd_decoder_new(qd_exchange_header(exchange, "Content-Encoding"), &exchange->decoder, &err);
    if (status != QD_OK) {
        qd_reply_error(exchange, status, &err);
    } else if (length && strtoull(length, NULL, 10) > exchange->http->options.max_body_bytes) {
        exchange->must_close = true;
        qd_error_set(&err, QD_TOO_LARGE, "body: expected at most %zu bytes, found %.20s",
                     exchange->http->options.max_body_bytes, length);
        qd_reply_error(exchange, QD_TOO_LARGE, &err);
    }
}

/* In this order; the first that answers ends it. */
static void (*const checks[])(const struct head *) = {check_framing, check_sizes, check_escapes, check_expect,
                                                      check_route,   check_access, check_body};

void qd_request_check(struct qd_exchange *exchange, const char *method, const char *path, const char *version)
{
    const char *authority = path[0] == '/' ? NULL : strstr(path, "://");
    struct head head = {exchange, method, path, version};

    check_line(&head);
    /* "GET http://host/path": the form for proxies, which a server takes too. */
    if (authority)
        head.path = strchr(authority + 3, '/') ? strchr(authority + 3, '/') : "/";
    for (size_t i = 0; i < QD_ARRAY_SIZE(checks) && !exchange->answered; i++)
        checks[i](&head);
}
