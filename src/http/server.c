#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/internal.h"
#include "util/clock.h"
#include "util/log.h"

/* What is thrown away of a body that is too large before the connection is cut. */
#define MAX_DISCARDED_FACTOR 4

const char *qd_exchange_query(const struct qd_exchange *exchange, const char *key)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, key);
}

const char *qd_exchange_header(const struct qd_exchange *exchange, const char *key)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, key);
}

static void count_request(struct qd_exchange *exchange)
{
    struct qd_metrics *metrics;

    if (!exchange->entry || exchange->status < 100 || exchange->status >= QD_N_CODES)
        return;
    metrics = exchange->entry->metrics;
    atomic_fetch_add(&metrics->requests[exchange->status], 1);
    qd_metrics_observe_us(&metrics->request_us, qd_now_us() - exchange->start_us);
    if (exchange->status == 429)
        atomic_fetch_add(&metrics->rejected[QD_REJECT_FULL], 1);
    else if (exchange->status == 503)
        atomic_fetch_add(&metrics->rejected[QD_REJECT_UNAVAILABLE], 1);
    else if (exchange->status >= 400 && exchange->status < 500)
        atomic_fetch_add(&metrics->rejected[QD_REJECT_INVALID], 1);
}

static enum MHD_Result send_reply(struct qd_exchange *exchange)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(exchange->reply_size, exchange->reply, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result result;
    char seconds[16];

    if (!response)
        return MHD_NO;
    exchange->reply = NULL;
    MHD_add_response_header(response, "Content-Type", exchange->content_type);
    if (exchange->location[0])
        MHD_add_response_header(response, "Location", exchange->location);
    if (exchange->allow)
        MHD_add_response_header(response, "Allow", exchange->allow);
    if (exchange->retry_after_s) {
        snprintf(seconds, sizeof(seconds), "%d", exchange->retry_after_s);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (exchange->body_too_large)
        MHD_add_response_header(response, "Connection", "close");
    count_request(exchange);
    result = MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

static bool is_loopback(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    if (!info || !info->client_addr)
        return false;
    if (info->client_addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)info->client_addr;

        return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    if (info->client_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)info->client_addr;

        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return false;
}

static void body_limit_reply(struct qd_exchange *exchange)
{
    char text[128];

    snprintf(text, sizeof(text), "body: expected at most %zu bytes, found more", exchange->http->options.max_body_bytes);
    qd_reply_error_as(exchange, 413, qd_status_name(QD_TOO_LARGE), text);
}

/* The first call: headers only. Answers at once what needs no body. */
static void begin(struct qd_exchange *exchange, const char *method, const char *path)
{
    static const char *const all_allow[] = {"GET", "POST", "DELETE", "GET, DELETE"};
    char allow[64], text[QD_ERROR_TEXT_SIZE];
    const char *length = qd_exchange_header(exchange, "Content-Length");

    exchange->route = qd_route_find(method, path, exchange->argument, allow);
    if (!exchange->route && !allow[0]) {
        snprintf(text, sizeof(text), "unknown path '%.100s'", path);
        qd_reply_error_as(exchange, 404, qd_status_name(QD_NOT_FOUND), text);
    } else if (!exchange->route) {
        snprintf(text, sizeof(text), "%.20s is not allowed on '%.100s', only %s", method, path, allow);
        qd_reply_error_as(exchange, 405, "method_not_allowed", text);
        for (size_t i = 0; i < QD_ARRAY_SIZE(all_allow); i++)
            if (strcmp(all_allow[i], allow) == 0)
                exchange->allow = all_allow[i];
    } else if (exchange->route->changes_state && !is_loopback(exchange->connection)) {
        qd_reply_error_as(exchange, 403, "forbidden", "this call is accepted from the loopback interface only");
    } else if (length && strtoull(length, NULL, 10) > exchange->http->options.max_body_bytes) {
        exchange->body_too_large = true;
        body_limit_reply(exchange);
    }
}

static enum MHD_Result take_body(struct qd_exchange *exchange, const char *data, size_t *size)
{
    struct qd_error err = {""};

    if (exchange->body_too_large || exchange->answered) {
        exchange->body.limit_bytes += *size;
        if (exchange->body.limit_bytes > MAX_DISCARDED_FACTOR * (exchange->http->options.max_body_bytes + 65536))
            return MHD_NO;
    } else if (qd_buf_append(&exchange->body, data, *size, &err) != QD_OK) {
        exchange->body_too_large = true;
        qd_buf_done(&exchange->body);
    }
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *upload_data, size_t *upload_size, void **state)
{
    struct qd_http *http = context;
    struct qd_exchange *exchange = *state;

    (void)version;
    if (!exchange) {
        exchange = qd_alloc(sizeof(*exchange));
        if (!exchange)
            return MHD_NO;
        *state = exchange;
        exchange->http = http;
        exchange->connection = connection;
        exchange->start_us = qd_now_us();
        qd_buf_init(&exchange->body, http->options.max_body_bytes);
        begin(exchange, method, path);
        /* A refused body is not waited for. */
        return exchange->answered && exchange->body_too_large ? send_reply(exchange) : MHD_YES;
    }
    if (*upload_size)
        return take_body(exchange, upload_data, upload_size);
    /* Only whole requests count as open: a client that left in the middle of its body must not hold up a stop. */
    if (!exchange->counted) {
        exchange->counted = true;
        atomic_fetch_add(&http->n_active, 1);
    }
    if (exchange->waiting) {
        exchange->waiting = false;
        (exchange->resume ? exchange->resume : qd_infer_reply)(exchange);
    } else if (!exchange->answered) {
        if (exchange->body_too_large)
            body_limit_reply(exchange);
        else
            exchange->route->run(exchange);
    }
    return exchange->answered ? send_reply(exchange) : MHD_YES;
}

static void finished(void *context, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode code)
{
    struct qd_http *http = context;
    struct qd_exchange *exchange = *state;

    (void)connection;
    (void)code;
    if (!exchange)
        return;
    if (exchange->counted)
        atomic_fetch_sub(&http->n_active, 1);
    qd_infer_free(exchange->infer);
    qd_task_free(exchange->task);
    qd_buf_done(&exchange->body);
    free(exchange->reply);
    qd_free(exchange);
    *state = NULL;
}

/* "host:port" or "[v6]:port". */
static enum qd_status parse_listen(const char *listen, struct addrinfo **ret, struct qd_error *err)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(listen, ':');
    char host[256];
    size_t length;
    int failed;

    if (!colon || colon == listen || !colon[1])
        return qd_error_set(err, QD_INVALID, "listen: expected HOST:PORT, found '%.80s'", listen);
    length = (size_t)(colon - listen);
    if (listen[0] == '[' && colon[-1] == ']') {
        listen++;
        length -= 2;
    }
    snprintf(host, sizeof(host), "%.*s", (int)length, listen);
    failed = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, colon + 1, &hints, ret);
    if (failed)
        return qd_error_set(err, QD_INVALID, "listen: '%.80s': %s", host, gai_strerror(failed));
    return QD_OK;
}

static enum qd_status open_socket(const char *listen_text, int *ret_fd, int *ret_port, struct qd_error *err)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    struct addrinfo *address;
    int fd, on = 1;
    enum qd_status status = parse_listen(listen_text, &address, err);

    if (status != QD_OK)
        return status;
    fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)(void *)&bound, &size) < 0) {
        status = qd_error_set(err, QD_IO, "cannot listen on %.80s: %s", listen_text, strerror(errno));
        if (fd >= 0)
            close(fd);
    } else {
        *ret_fd = fd;
        *ret_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&bound)->sin6_port
                                                      : ((struct sockaddr_in *)(void *)&bound)->sin_port);
    }
    freeaddrinfo(address);
    return status;
}

enum qd_status qd_http_start(const struct qd_http_options *options, struct qd_http **ret, struct qd_error *err)
{
    struct qd_http *http = qd_alloc(sizeof(*http));
    int fd = -1;
    enum qd_status status;

    if (!http)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for the server");
    http->options = *options;
    status = open_socket(options->listen, &fd, &http->port, err);
    if (status != QD_OK) {
        qd_free(http);
        return status;
    }
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL, handle, http,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, finished, http, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)options->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)options->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)65536, MHD_OPTION_END);
    if (!http->daemon) {
        close(fd);
        qd_free(http);
        return qd_error_set(err, QD_IO, "cannot start the HTTP server");
    }
    *ret = http;
    return QD_OK;
}

int qd_http_port(const struct qd_http *http)
{
    return http->port;
}

void qd_http_drain(struct qd_http *http)
{
    atomic_store(&http->draining, true);
}

int qd_http_n_active(const struct qd_http *http)
{
    return atomic_load(&http->n_active);
}

void qd_http_stop(struct qd_http *http)
{
    if (!http)
        return;
    MHD_stop_daemon(http->daemon);
    qd_free(http);
}
