/*
 * The server's thread: it accepts, runs libmicrohttpd (one instance for plain connections, one for TLS, both driven
 * from here), and looks every moment after those who are slow.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/internal.h"
#include "util/clock.h"
#include "util/log.h"

#define MAX_EVENTS 64
#define MAX_ACCEPTS 64 /* in one turn, of one listener */
#define MAX_LAST_TURNS 64 /* before a listener closes: a flood must not keep it open */
#define SWEEP_US 250000
#define HAND_OVER_US 500000 /* handshakes that were under way when the port was handed over */
#define OTHER_FILES 256     /* descriptors that are not connections */

enum qd_status qd_http_check(const struct qd_http_options *options, struct qd_error *err)
{
    struct qd_token token;
    struct qd_tls tls = {NULL};
    struct qd_error warning;
    enum qd_status status = qd_listeners_check(options->listen, options->socket_mode, err);

    if (status == QD_OK)
        status = qd_token_read(&token, options->admin_token_file, &warning, err);
    if (status == QD_OK)
        status = qd_origin_check(options->cors_origin, err);
    if (status == QD_OK && !options->tls_cert[0] != !options->tls_key[0])
        status = qd_error_set(err, QD_INVALID, "tls_cert and tls_key: expected both or none, found one");
    if (status == QD_OK && options->tls_cert[0])
        status = qd_tls_load(&tls, options->tls_cert, options->tls_key, &warning, err);
    qd_tls_done(&tls);
    return status;
}

static void warn(const struct qd_error *warning)
{
    if (warning->text[0])
        qd_log(QD_LOG_WARNING, "%s", warning->text);
}

/* At the start all of it has to be there; later each that is not leaves the old one in use. */
static enum qd_status load_files(struct qd_http *http, bool log_failures, struct qd_error *err)
{
    const struct qd_http_options *options = &http->options;
    enum qd_status status = QD_OK;

    for (int i = 0; i < 3 && status == QD_OK; i++) {
        struct qd_error warning = {""}, cause = {""};

        if (i == 0)
            status = qd_token_read(&http->token, options->admin_token_file, &warning, &cause);
        else if (i == 1 && options->tls_cert[0])
            status = qd_tls_load(&http->tls, options->tls_cert, options->tls_key, &warning, &cause);
        else if (i == 2)
            status = qd_access_log_open(&http->log, options->access_log, &cause);
        warn(&warning);
        if (status != QD_OK && log_failures) {
            qd_log(QD_LOG_ERROR, "reload: %s; the old one stays in use", cause.text);
            status = QD_OK;
        } else if (status != QD_OK) {
            qd_error_set(err, status, "%s", cause.text);
        }
    }
    return status;
}

static struct MHD_Daemon *start_library(struct qd_http *http, bool is_tls)
{
    const struct qd_http_options *options = &http->options;
    /* Half of the memory is for what comes in. */
    size_t memory_bytes = options->max_header_bytes * 2 < 65536 ? 65536 : options->max_header_bytes * 2 + 4096;
    struct MHD_OptionItem tls_options[] = {{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, qd_tls_callback()},
                                           {MHD_OPTION_END, 0, NULL}};

    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | (is_tls ? MHD_USE_TLS : 0),
        0, NULL, NULL, qd_exchange_handle, http, MHD_OPTION_URI_LOG_CALLBACK, qd_exchange_new, http,
        MHD_OPTION_NOTIFY_COMPLETED, qd_exchange_finished, http, MHD_OPTION_NOTIFY_CONNECTION, qd_client_on_connection,
        http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->max_connections + 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        memory_bytes, is_tls ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls_options, MHD_OPTION_END);
}

static bool watch(struct qd_http *http, int fd, uint64_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = what};

    return epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool watch_library(struct qd_http *http, struct MHD_Daemon *daemon)
{
    const union MHD_DaemonInfo *info = daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;

    return info && watch(http, info->epoll_fd, QD_EVENT_LIBRARY);
}

static void wake(struct qd_http *http)
{
    uint64_t one = 1;

    (void)!write(http->wake_fd, &one, sizeof(one));
}

void qd_exchange_resume(struct qd_exchange *exchange)
{
    struct qd_http *http = exchange->http;

    /* The library does not say so to who drives it. The exchange may be gone as soon as it goes on. */
    MHD_resume_connection(exchange->connection);
    wake(http);
}

/* No descriptor is left: the client is told by a close, with the one that was kept for that, instead of waiting. */
static void shed(struct qd_http *http, int listener_fd)
{
    close(http->spare_fd);
    http->spare_fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (http->spare_fd >= 0)
        close(http->spare_fd);
    http->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    http->clients.n_refused++;
}

/* False: nobody waits any more. */
static bool accept_some(struct qd_http *http, const struct qd_listener *listener)
{
    for (int i = 0; i < MAX_ACCEPTS; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof(address);
        int fd = accept4(listener->fd, (struct sockaddr *)(void *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0)
            qd_client_accept(http, listener, fd, &address, size);
        else if (errno == EMFILE || errno == ENFILE)
            shed(http, listener->fd);
        else
            return errno == ECONNABORTED || errno == EINTR;
    }
    return true;
}

/* Those whose connection was complete have been promised an answer by the kernel. */
static void close_listeners(struct qd_http *http)
{
    for (int i = 0; i < http->listeners.n; i++) {
        struct qd_listener *listener = &http->listeners.items[i];

        if (listener->fd < 0)
            continue;
        /* What waits at a passed socket waits for the next server; the socket does not end. */
        for (int turns = 0; turns < MAX_LAST_TURNS && !listener->is_passed && !listener->is_waiting; turns++)
            if (!accept_some(http, listener))
                break;
        epoll_ctl(http->epoll_fd, EPOLL_CTL_DEL, listener->fd, NULL);
        qd_listener_close(listener);
    }
    atomic_store(&http->is_closed, true);
}

/* A stop: at once, or after the handshakes that were under way when another instance took over the port. */
static void begin_drain(struct qd_http *http, int64_t now_us)
{
    bool is_handed_over = false;

    http->drain_us = now_us;
    for (int i = 0; i < http->listeners.n; i++)
        is_handed_over |= qd_listener_hand_over(&http->listeners.items[i]);
    if (is_handed_over)
        qd_log(QD_LOG_NOTICE, "another instance takes the new connections from here on");
    else
        close_listeners(http);
}

static void look_around(struct qd_http *http, int64_t now_us)
{
    struct qd_error err = {""};

    if (atomic_exchange(&http->reloading, false))
        load_files(http, true, &err);
    qd_tls_drop_old(&http->tls, now_us - http->options.timeout_s * INT64_C(1000000));
    qd_lingerers_read(&http->clients, now_us, false);
    if (http->drain_us && now_us - http->drain_us > HAND_OVER_US)
        close_listeners(http);
    qd_clients_sweep(http, now_us);
    atomic_fetch_add(&http->turns, 1);
}

/* How long to sleep: what the library has ready cannot wait, and nobody is left alone for longer than a sweep. */
static int timeout_ms(const struct qd_http *http)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if ((MHD_get_timeout(http->daemon, &ms) == MHD_YES && !ms) ||
        (http->tls_daemon && MHD_get_timeout(http->tls_daemon, &ms) == MHD_YES && !ms))
        return 0;
    return SWEEP_US / 1000;
}

static void *run(void *context)
{
    struct qd_http *http = context;
    struct epoll_event events[MAX_EVENTS];
    int64_t swept_us = 0;
    uint64_t count;

    while (!atomic_load(&http->stopping)) {
        int n = epoll_wait(http->epoll_fd, events, MAX_EVENTS, timeout_ms(http));
        int64_t now_us = qd_now_us();

        for (int i = 0; i < n; i++) {
            uint64_t what = events[i].data.u64;

            if (what < QD_MAX_LISTENERS)
                accept_some(http, &http->listeners.items[what]);
            else if (what == QD_EVENT_LINGERER)
                qd_lingerers_read(&http->clients, now_us, false);
            else if (what == QD_EVENT_WAKE)
                (void)!read(http->wake_fd, &count, sizeof(count));
        }
        if (atomic_load(&http->draining) && !http->drain_us)
            begin_drain(http, now_us);
        MHD_run(http->daemon);
        if (http->tls_daemon)
            MHD_run(http->tls_daemon);
        if (now_us - swept_us >= SWEEP_US || atomic_load(&http->reloading)) {
            look_around(http, now_us);
            swept_us = now_us;
        }
        qd_access_log_flush(&http->log);
    }
    return NULL;
}

/* Connections are descriptors: as many as the system lets us have. */
static void raise_file_limit(const struct qd_http *http)
{
    rlim_t wanted = (rlim_t)http->options.max_connections + OTHER_FILES;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        qd_log(QD_LOG_WARNING, "max_connections is %d, but only %llu files may be open (LimitNOFILE)",
               http->options.max_connections, (unsigned long long)limit.rlim_cur);
}

static enum qd_status start_thread(struct qd_http *http, struct qd_error *err)
{
    http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    http->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    http->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    http->daemon = start_library(http, false);
    if (http->options.tls_cert[0])
        http->tls_daemon = start_library(http, true);
    if (http->epoll_fd < 0 || http->wake_fd < 0 || !watch(http, http->wake_fd, QD_EVENT_WAKE) ||
        !watch_library(http, http->daemon) || (http->options.tls_cert[0] && !watch_library(http, http->tls_daemon)))
        return qd_error_set(err, QD_IO, "cannot start the HTTP server: %s",
                            http->options.tls_cert[0] && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES
                                ? "libmicrohttpd is built without TLS"
                                : strerror(errno));
    for (int i = 0; i < http->listeners.n; i++) {
        struct qd_listener *listener = &http->listeners.items[i];

        if (!listener->is_waiting && !watch(http, listener->fd, (uint64_t)i))
            return qd_error_set(err, QD_IO, "cannot watch a socket: %s", strerror(errno));
    }
    http->has_thread = pthread_create(&http->thread, NULL, run, http) == 0;
    return http->has_thread ? QD_OK : qd_error_set(err, QD_IO, "cannot start the HTTP server's thread");
}

enum qd_status qd_http_start(const struct qd_http_options *options, struct qd_http **ret, struct qd_error *err)
{
    struct qd_http *http = qd_alloc(sizeof(*http));
    enum qd_status status;

    if (!http)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for the server");
    http->options = *options;
    http->epoll_fd = http->wake_fd = http->spare_fd = -1;
    qd_ids_init(&http->ids);
    status = qd_http_check(options, err);
    if (status == QD_OK)
        status = qd_page_init(&http->page, err);
    if (status == QD_OK)
        status = load_files(http, false, err);
    if (status == QD_OK) {
        raise_file_limit(http);
        status = qd_listeners_open(&http->listeners, options->listen, options->socket_mode, options->reuse_port, err);
    }
    if (status == QD_OK)
        status = start_thread(http, err);
    if (status != QD_OK) {
        qd_http_stop(http);
        return status;
    }
    *ret = http;
    return QD_OK;
}

enum qd_status qd_http_open(struct qd_http *http, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    for (int i = 0; i < http->listeners.n && status == QD_OK; i++) {
        struct qd_listener *listener = &http->listeners.items[i];

        if (!listener->is_waiting)
            continue;
        status = qd_listener_join(listener, err);
        if (status == QD_OK && !watch(http, listener->fd, (uint64_t)i))
            status = qd_error_set(err, QD_IO, "cannot watch a socket: %s", strerror(errno));
    }
    return status;
}

void qd_http_places(const struct qd_http *http, char *ret_text, size_t size)
{
    size_t used = 0;

    ret_text[0] = 0;
    for (int i = 0; i < 2 * http->listeners.n; i++) {
        const struct qd_listener *listener = &http->listeners.items[i % http->listeners.n];
        const char *between = used ? ", " : "";
        int n = 0;

        if (!listener->is_unix && i < http->listeners.n)
            n = snprintf(ret_text + used, size - used, "%sport %d%s", between, listener->port,
                         http->tls_daemon ? " (TLS)" : "");
        else if (listener->is_unix && i >= http->listeners.n)
            n = snprintf(ret_text + used, size - used, "%sunix:%s", between,
                         listener->path[0] ? listener->path : "(passed)");
        used = used + (size_t)n < size ? used + (size_t)n : size - 1;
    }
}

void qd_http_reload(struct qd_http *http)
{
    atomic_store(&http->reloading, true);
    wake(http);
}

unsigned qd_http_turns(const struct qd_http *http)
{
    return atomic_load(&http->turns);
}

void qd_http_drain(struct qd_http *http)
{
    atomic_store(&http->draining, true);
    wake(http);
}

bool qd_http_is_drained(const struct qd_http *http)
{
    return atomic_load(&http->is_closed) && atomic_load(&http->n_connections) == 0 && atomic_load(&http->n_active) == 0;
}

int qd_http_n_active(const struct qd_http *http)
{
    return atomic_load(&http->n_active);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void qd_http_stop(struct qd_http *http)
{
    if (!http)
        return;
    atomic_store(&http->stopping, true);
    if (http->has_thread) {
        wake(http);
        pthread_join(http->thread, NULL);
    }
    for (int i = 0; i < http->listeners.n; i++)
        qd_listener_close(&http->listeners.items[i]);
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    if (http->tls_daemon)
        MHD_stop_daemon(http->tls_daemon);
    qd_lingerers_read(&http->clients, 0, true);
    qd_access_log_close(&http->log);
    qd_buf_done(&http->log.lines);
    qd_tls_done(&http->tls);
    close_fd(http->epoll_fd);
    close_fd(http->wake_fd);
    close_fd(http->spare_fd);
    qd_free(http);
}
