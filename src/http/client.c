#define _GNU_SOURCE /* POLLRDHUP */
#include "http/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "http/internal.h"
#include "http/listen.h"
#include "util/clock.h"
#include "util/log.h"

#define LINGER_US 2000000
#define DRAIN_IDLE_US 1000000 /* how long a stopping server waits for a kept connection's next request */
#define TELL_US 10000000

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == 127;
    if (address->ss_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;

        return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
    }
    return false;
}

uint64_t qd_client_key(const struct sockaddr_storage *address)
{
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    const struct in_addr *in = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    uint64_t key = 0;

    if (address->ss_family == AF_INET)
        memcpy(&key, in, 4);
    else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(in6))
        memcpy(&key, &in6->s6_addr[12], 4);
    else if (address->ss_family == AF_INET6)
        memcpy(&key, in6, 8);
    return key;
}

void qd_client_text(const struct qd_client *client, char ret[INET6_ADDRSTRLEN])
{
    const struct sockaddr_storage *address = &client->address;
    const void *bytes = address->ss_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;

    if (client->is_unix || !inet_ntop(address->ss_family, bytes, ret, INET6_ADDRSTRLEN))
        snprintf(ret, INET6_ADDRSTRLEN, "unix");
}

static bool is_too_many(struct qd_http *http, const struct sockaddr_storage *address, bool from_unix)
{
    const struct qd_clients *clients = &http->clients;
    int limit = http->options.max_connections_per_client, n = 0;
    uint64_t key = qd_client_key(address);

    if (clients->n >= http->options.max_connections)
        return true;
    if (!limit || from_unix)
        return false;
    for (const struct qd_client *c = clients->first; c; c = c->next)
        n += !c->is_unix && qd_client_key(&c->address) == key;
    return n >= limit;
}

/* Past its answer: the socket stays open for reading. One too many is closed with whatever a reset destroys. */
static void add_lingerer(struct qd_http *http, int fd)
{
    struct qd_clients *clients = &http->clients;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = QD_EVENT_LINGERER};

    if (fd < 0)
        return;
    if (clients->n_lingerers == QD_MAX_LINGERERS || epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        return;
    }
    clients->lingerers[clients->n_lingerers].fd = fd;
    clients->lingerers[clients->n_lingerers++].until_us = qd_now_us() + LINGER_US;
}

void qd_lingerers_read(struct qd_clients *clients, int64_t now_us, bool close_all)
{
    char bytes[16384];

    for (int i = 0; i < clients->n_lingerers;) {
        ssize_t n = recv(clients->lingerers[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        bool is_open = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));

        if (is_open && !close_all && now_us < clients->lingerers[i].until_us) {
            i++;
            continue;
        }
        close(clients->lingerers[i].fd);
        clients->lingerers[i] = clients->lingerers[--clients->n_lingerers];
    }
}

/* An answer without a request, straight to the socket: small enough for its empty buffer. */
static void send_raw(int fd, const char *status, const char *extra, const char *code, const char *text)
{
    char body[256], answer[640];
    int length = snprintf(body, sizeof(body), "{\"error\":\"%s\",\"code\":\"%s\"}", text, code);

    length =
        snprintf(answer, sizeof(answer),
                 "HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
                 status, extra, length, body);
    (void)!send(fd, answer, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void refuse(struct qd_http *http, int fd, bool is_tls)
{
    struct qd_clients *clients = &http->clients;
    int64_t now_us = qd_now_us();

    clients->n_refused++;
    if (now_us - clients->told_us > TELL_US || !clients->told_us) {
        qd_log(QD_LOG_WARNING, "%d connections refused: max_connections is %d, max_connections_per_client %d",
               clients->n_refused, http->options.max_connections, http->options.max_connections_per_client);
        clients->n_refused = 0;
        clients->told_us = now_us;
    }
    /* Under TLS a handshake would have to come first, which is the work that the limit is there to avoid. */
    if (is_tls) {
        close(fd);
        return;
    }
    send_raw(fd, "503 Service Unavailable", "Retry-After: 1\r\n", "too_many_connections",
             "expected fewer connections at once: try again later");
    shutdown(fd, SHUT_WR);
    add_lingerer(http, fd);
}

void qd_client_accept(struct qd_http *http, const struct qd_listener *listener, int fd,
                      const struct sockaddr_storage *address, socklen_t size)
{
    bool is_tls = http->tls_daemon && !listener->is_unix;
    struct qd_client *client;

    if (is_too_many(http, address, listener->is_unix)) {
        refuse(http, fd, is_tls);
        return;
    }
    client = qd_alloc(sizeof(*client));
    if (!client) {
        close(fd);
        return;
    }
    client->http = http;
    client->fd = fd;
    client->address = *address;
    client->is_tls = is_tls;
    client->is_unix = listener->is_unix;
    client->is_loopback = listener->is_unix || is_loopback(address);
    qd_client_set_stage(client, QD_CLIENT_IDLE);
    http->clients.starting = client;
    /* Takes the fd in any case. on_connection has been called in it, or will never be. */
    MHD_add_connection(is_tls ? http->tls_daemon : http->daemon, fd, (const struct sockaddr *)(const void *)address,
                       size);
    if (http->clients.starting)
        qd_free(client);
    http->clients.starting = NULL;
}

void qd_client_on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                             enum MHD_ConnectionNotificationCode code)
{
    struct qd_http *http = context;
    struct qd_clients *clients = &http->clients;
    struct qd_client *client;

    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        client = clients->starting;
        clients->starting = NULL;
        client->next = clients->first;
        if (client->next)
            client->next->previous = client;
        clients->first = client;
        clients->n++;
        *socket_context = client;
    } else {
        client = *socket_context;
        if (client->linger)
            add_lingerer(http, dup(client->fd));
        if (client->previous)
            client->previous->next = client->next;
        else
            clients->first = client->next;
        if (client->next)
            client->next->previous = client->previous;
        clients->n--;
        qd_free(client);
    }
    atomic_store(&http->n_connections, clients->n);
}

struct qd_client *qd_client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info->socket_context;
}

void qd_client_set_stage(struct qd_client *client, enum qd_client_stage stage)
{
    if (client->stage == QD_CLIENT_CUT)
        return;
    client->stage = stage;
    client->since_us = client->active_us = qd_now_us();
}

/* The library sees the end of the stream and closes. */
static void end(struct qd_client *client)
{
    client->stage = QD_CLIENT_CUT;
    shutdown(client->fd, SHUT_RDWR);
}

void qd_client_cut(struct qd_client *client, const char *status, const char *code, const char *text)
{
    /* Bytes between TLS records would be noise. */
    if (!client->is_tls) {
        send_raw(client->fd, status, "", code, text);
        client->linger = true;
    }
    end(client);
}

static void cut_slow(struct qd_client *client, const char *text)
{
    qd_client_cut(client, "408 Request Timeout", "timeout", text);
}

static bool has_input(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    return poll(&poller, 1, 0) > 0;
}

/*
 * It sends no more, and all that it sent has been read: the rest of its request will not come. The library does not
 * notice where the end came together with the last bytes, for it waits for an edge that has passed.
 */
static bool has_left(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLRDHUP};
    int n_unread = 0;

    return poll(&poller, 1, 0) > 0 && ioctl(fd, FIONREAD, &n_unread) == 0 && !n_unread;
}

void qd_clients_sweep(struct qd_http *http, int64_t now_us)
{
    int64_t timeout_us = http->options.timeout_s * INT64_C(1000000);
    int64_t body_timeout_us = http->options.body_timeout_s * INT64_C(1000000);
    char text[128];

    for (struct qd_client *c = http->clients.first; c; c = c->next) {
        int64_t age_us = now_us - c->since_us;

        if (c->stage == QD_CLIENT_IDLE) {
            bool is_over = atomic_load(&http->draining) && age_us > DRAIN_IDLE_US &&
                           now_us - http->drain_us > DRAIN_IDLE_US && !has_input(c->fd);

            if (age_us > timeout_us || is_over)
                end(c);
        } else if ((c->stage == QD_CLIENT_HEAD || c->stage == QD_CLIENT_BODY) && has_left(c->fd)) {
            c->has_left = true;
            end(c);
        } else if ((c->stage == QD_CLIENT_HEAD || c->stage == QD_CLIENT_BODY) && age_us > body_timeout_us) {
            snprintf(text, sizeof(text), "request: expected all of it within %d s (body_timeout_s)",
                     http->options.body_timeout_s);
            cut_slow(c, text);
        } else if (c->stage == QD_CLIENT_BODY && now_us - c->active_us > timeout_us) {
            snprintf(text, sizeof(text), "body: expected more of it within %d s (timeout_s), found nothing",
                     http->options.timeout_s);
            cut_slow(c, text);
        } else if (c->stage == QD_CLIENT_REPLY && age_us > body_timeout_us) {
            end(c);
        }
    }
}
