#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_PASSED_FD 3

/* "host:port", "[v6]:port" or "*:port". */
static enum qd_status parse_address(const char *text, struct addrinfo **ret, struct qd_error *err)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(text, ':');
    char host[256], *end;
    size_t length;
    int failed;

    if (!colon || colon == text || !colon[1])
        return qd_error_set(err, QD_INVALID, "listen: expected HOST:PORT or unix:/PATH, found '%.80s'", text);
    /* getaddrinfo takes any number, modulo 65536. */
    if (strtoul(colon + 1, &end, 10) > 65535 || *end)
        return qd_error_set(err, QD_INVALID, "listen: expected a port of 0 to 65535, found '%.80s'", text);
    length = (size_t)(colon - text);
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        length -= 2;
    }
    snprintf(host, sizeof(host), "%.*s", (int)length, text);
    failed = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, colon + 1, &hints, ret);
    if (failed)
        return qd_error_set(err, QD_INVALID, "listen: '%.80s', port '%.20s': %s", host, colon + 1,
                            gai_strerror(failed));
    return QD_OK;
}

static enum qd_status parse_path(const char *text, struct sockaddr_un *ret, struct qd_error *err)
{
    const char *path = text + strlen("unix:");

    memset(ret, 0, sizeof(*ret));
    ret->sun_family = AF_UNIX;
    if (path[0] != '/' || strlen(path) >= sizeof(ret->sun_path))
        return qd_error_set(err, QD_INVALID, "listen: expected unix:/PATH of at most %zu characters, found '%.120s'",
                            sizeof(ret->sun_path) - 1, text);
    memcpy(ret->sun_path, path, strlen(path));
    return QD_OK;
}

static enum qd_status parse_mode(const char *text, mode_t *ret, struct qd_error *err)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);

    if (end == text || *end || mode > 0777)
        return qd_error_set(err, QD_INVALID, "socket_mode: expected octal digits such as 660, found '%.20s'", text);
    *ret = (mode_t)mode;
    return QD_OK;
}

static bool is_unix(const char *text)
{
    return strncmp(text, "unix:", 5) == 0;
}

/* A file that nobody listens on is left over from a server that was killed. */
static enum qd_status remove_stale(const struct sockaddr_un *address, struct qd_error *err)
{
    struct stat info;
    int fd, failed;

    if (lstat(address->sun_path, &info) < 0)
        return QD_OK;
    if (!S_ISSOCK(info.st_mode))
        return qd_error_set(err, QD_IO, "cannot listen on unix:%s: there is a file that is not a socket",
                            address->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return qd_error_set(err, QD_IO, "cannot make a socket: %s", strerror(errno));
    failed = connect(fd, (const struct sockaddr *)(const void *)address, sizeof(*address)) < 0 ? errno : 0;
    close(fd);
    if (failed != ECONNREFUSED)
        return qd_error_set(err, QD_IO, "cannot listen on unix:%s: %s", address->sun_path,
                            failed && failed != EAGAIN ? strerror(failed) : "another server listens on it");
    if (unlink(address->sun_path) < 0)
        return qd_error_set(err, QD_IO, "cannot remove the stale socket %s: %s", address->sun_path, strerror(errno));
    return QD_OK;
}

static enum qd_status open_unix(struct qd_listener *listener, const char *text, const char *mode_text,
                                struct qd_error *err)
{
    struct sockaddr_un address;
    struct stat info;
    mode_t mode = 0;
    enum qd_status status = parse_mode(mode_text, &mode, err);

    if (status == QD_OK)
        status = parse_path(text, &address, err);
    if (status == QD_OK)
        status = remove_stale(&address, err);
    if (status != QD_OK)
        return status;
    listener->is_unix = true;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Nobody can connect before listen(), so the mode is right from the first connection on. */
    if (listener->fd < 0 || bind(listener->fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) < 0 ||
        chmod(address.sun_path, mode) < 0 || stat(address.sun_path, &info) < 0 || listen(listener->fd, QD_BACKLOG) < 0)
        return qd_error_set(err, QD_IO, "cannot listen on %.100s: %s", text, strerror(errno));
    memcpy(listener->path, address.sun_path, sizeof(address.sun_path));
    listener->device = info.st_dev;
    listener->inode = info.st_ino;
    return QD_OK;
}

static int port_of(int fd)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *)(void *)&bound, &size) < 0)
        return 0;
    return bound.ss_family == AF_INET6  ? ntohs(((struct sockaddr_in6 *)(void *)&bound)->sin6_port)
           : bound.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port)
                                        : 0;
}

static enum qd_status open_port(struct qd_listener *listener, const char *text, bool reuse_port, struct qd_error *err)
{
    struct addrinfo *address;
    int fd, on = 1;
    enum qd_status status = parse_address(text, &address, err);

    if (status != QD_OK)
        return status;
    listener->fd = fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
        bind(fd, address->ai_addr, address->ai_addrlen) < 0 || (!reuse_port && listen(fd, QD_BACKLOG) < 0))
        status = qd_error_set(err, QD_IO, "cannot listen on %.80s: %s", text, strerror(errno));
    else
        listener->port = port_of(fd);
    listener->is_waiting = listener->is_shared = reuse_port;
    freeaddrinfo(address);
    return status;
}

/* How many sockets the service manager passed to this very process; the variables are taken away from children. */
static int count_passed(void)
{
    const char *pid = getenv("LISTEN_PID"), *n_text = getenv("LISTEN_FDS");
    int n = pid && n_text && strtol(pid, NULL, 10) == (long)getpid() ? (int)strtol(n_text, NULL, 10) : 0;

    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return n;
}

static enum qd_status take_passed(struct qd_listener *listener, int fd, struct qd_error *err)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address), option_size = sizeof(int);
    int listens = 0;

    if (getsockname(fd, (struct sockaddr *)(void *)&address, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &option_size) < 0 || !listens)
        return qd_error_set(err, QD_IO, "LISTEN_FDS: expected a listening stream socket as descriptor %d", fd);
    listener->fd = fd;
    listener->is_passed = true;
    listener->is_unix = address.ss_family == AF_UNIX;
    listener->port = port_of(fd);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return qd_error_set(err, QD_IO, "LISTEN_FDS: descriptor %d: %s", fd, strerror(errno));
    return QD_OK;
}

/* The next address of a list with blanks or commas between; false at its end. */
static bool next_address(const char **text, char ret[256])
{
    static const char between[] = " ,\t";
    size_t length;

    *text += strspn(*text, between);
    length = strcspn(*text, between);
    snprintf(ret, 256, "%.*s", (int)length, *text);
    *text += length;
    return length > 0;
}

enum qd_status qd_listeners_check(const char *text, const char *mode_text, struct qd_error *err)
{
    struct sockaddr_un path;
    struct addrinfo *address;
    char one[256];
    mode_t mode;
    int n = 0;
    enum qd_status status = parse_mode(mode_text, &mode, err);

    for (; status == QD_OK && next_address(&text, one); n++) {
        if (is_unix(one)) {
            status = parse_path(one, &path, err);
        } else {
            status = parse_address(one, &address, err);
            if (status == QD_OK)
                freeaddrinfo(address);
        }
    }
    if (status == QD_OK && (n < 1 || n > QD_MAX_LISTENERS))
        status = qd_error_set(err, QD_INVALID, "listen: expected 1 to %d addresses, found %d", QD_MAX_LISTENERS, n);
    return status;
}

enum qd_status qd_listeners_open(struct qd_listeners *listeners, const char *text, const char *mode, bool reuse_port,
                                 struct qd_error *err)
{
    int n_passed = count_passed();
    char one[256];
    enum qd_status status = QD_OK;

    listeners->n = 0;
    if (n_passed > QD_MAX_LISTENERS)
        return qd_error_set(err, QD_INVALID, "LISTEN_FDS: expected at most %d, found %d", QD_MAX_LISTENERS, n_passed);
    if (!n_passed)
        status = qd_listeners_check(text, mode, err);
    for (int i = 0; i < n_passed && status == QD_OK; i++) {
        listeners->items[i] = (struct qd_listener){.fd = -1};
        listeners->n = i + 1;
        status = take_passed(&listeners->items[i], FIRST_PASSED_FD + i, err);
    }
    while (!n_passed && status == QD_OK && next_address(&text, one)) {
        struct qd_listener *listener = &listeners->items[listeners->n++];

        *listener = (struct qd_listener){.fd = -1};
        status = is_unix(one) ? open_unix(listener, one, mode, err) : open_port(listener, one, reuse_port, err);
    }
    for (int i = 0; i < listeners->n && status != QD_OK; i++)
        qd_listener_close(&listeners->items[i]);
    return status;
}

void qd_listener_close(struct qd_listener *listener)
{
    struct stat info;

    if (listener->fd < 0)
        return;
    /* Not the file of a server that has taken over the path since. */
    if (listener->path[0] && stat(listener->path, &info) == 0 && info.st_dev == listener->device &&
        info.st_ino == listener->inode)
        unlink(listener->path);
    close(listener->fd);
    listener->fd = -1;
}
