#include "http/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http/internal.h"
#include "util/clock.h"
#include "util/log.h"

#define MAX_GATHERED ((size_t)1 << 20)
#define WRITE_AT 65536
#define MAX_PIPE_WRITE 4096 /* PIPE_BUF: what a pipe that is ready takes without blocking */
#define TELL_US 60000000

enum qd_status qd_access_log_open(struct qd_access_log *log, const char *path, struct qd_error *err)
{
    int fd = -1;

    if (!log->lines.limit_bytes) {
        qd_buf_init(&log->lines, MAX_GATHERED);
        log->fd = -1;
    }
    if (strcmp(path, "-") == 0)
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    else if (path[0])
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd < 0 && path[0])
        return qd_error_set(err, QD_IO, "access_log: cannot open '%s': %s", path, strerror(errno));
    qd_access_log_close(log);
    log->path = path;
    log->fd = fd;
    return QD_OK;
}

void qd_access_log_close(struct qd_access_log *log)
{
    if (log->fd >= 0 && log->lines.limit_bytes) {
        qd_access_log_flush(log);
        close(log->fd);
    }
    log->fd = -1;
    qd_buf_done(&log->lines);
    qd_buf_init(&log->lines, MAX_GATHERED);
    log->mid_line = false;
}

enum qd_status qd_json_quote(struct qd_buf *out, const char *text, struct qd_error *err)
{
    enum qd_status status = qd_buf_append(out, "\"", 1, err);

    while (*text && status == QD_OK) {
        size_t plain = 0;

        while ((unsigned char)text[plain] >= ' ' && (unsigned char)text[plain] < 0x7f && text[plain] != '"' &&
               text[plain] != '\\')
            plain++;
        status = qd_buf_append(out, text, plain, err);
        text += plain;
        if (*text && status == QD_OK)
            status = qd_buf_printf(out, err, "\\u%04x", (unsigned char)*text++);
    }
    return status == QD_OK ? qd_buf_append(out, "\"", 1, err) : status;
}

static enum qd_status add_text(struct qd_buf *out, const char *key, const char *text, struct qd_error *err)
{
    enum qd_status status = qd_buf_printf(out, err, ",\"%s\":", key);

    return status == QD_OK ? qd_json_quote(out, text, err) : status;
}

/* Who asked for what, as far as it was understood; what it took. */
static enum qd_status format_line(struct qd_buf *out, const struct qd_exchange *exchange, bool aborted,
                                  struct qd_error *err)
{
    char client[INET6_ADDRSTRLEN], when[32];
    struct timespec now;
    struct tm parts;
    enum qd_status status;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &parts);
    qd_client_text(exchange->client, client);
    status = qd_buf_printf(out, err, "{\"time\":\"%s.%03ldZ\",\"client\":\"%s\",\"tls\":%s", when,
                           now.tv_nsec / 1000000, client, exchange->client->is_tls ? "true" : "false");
    if (status == QD_OK)
        status = add_text(out, "method", exchange->method, err);
    if (status == QD_OK)
        status = add_text(out, "path", exchange->uri ? exchange->uri : "", err);
    if (status == QD_OK)
        status = qd_buf_printf(
            out, err, ",\"status\":%d,\"aborted\":%s,\"bytes_in\":%zu,\"bytes_out\":%zu,\"duration_us\":%" PRId64,
            exchange->status, aborted ? "true" : "false", exchange->n_bytes_in, exchange->n_bytes_out,
            qd_now_us() - exchange->start_us);
    if (status == QD_OK && exchange->entry)
        status = add_text(out, "model", exchange->entry->name, err);
    if (status == QD_OK && exchange->generation)
        status = qd_buf_printf(out, err, ",\"version\":%d,\"generation\":%d,\"batch_size\":%d", exchange->version,
                               exchange->generation, exchange->batch_size);
    if (status == QD_OK)
        status = add_text(out, "request_id", exchange->request_id, err);
    if (status == QD_OK && exchange->trace_id[0])
        status = add_text(out, "trace_id", exchange->trace_id, err);
    return status == QD_OK ? qd_buf_append(out, "}\n", 2, err) : status;
}

void qd_access_log_add(struct qd_access_log *log, const struct qd_exchange *exchange, bool aborted)
{
    size_t before = log->lines.size;
    struct qd_error err = {""};

    if (log->fd < 0)
        return;
    if (format_line(&log->lines, exchange, aborted, &err) != QD_OK) {
        log->lines.size = before;
        log->n_lost++;
    }
    if (log->lines.size >= WRITE_AT)
        qd_access_log_flush(log);
}

static void tell_loss(struct qd_access_log *log, const char *why)
{
    int64_t now_us = qd_now_us();

    if (log->told_us && now_us - log->told_us < TELL_US)
        return;
    qd_log(QD_LOG_WARNING, "access_log: %" PRIu64 " lines lost: %s", log->n_lost, why);
    log->n_lost = 0;
    log->told_us = now_us;
}

static uint64_t count_lines(const uint8_t *bytes, size_t size)
{
    uint64_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += bytes[i] == '\n';
    return n;
}

/* The file may be a pipe whose reader is slow or gone: never wait for it. */
void qd_access_log_flush(struct qd_access_log *log)
{
    struct qd_buf *lines = &log->lines;
    size_t done = 0;
    int failed = 0;

    if (!lines->size || log->fd < 0)
        return;
    if (log->mid_line && write(log->fd, "\n", 1) == 1)
        log->mid_line = false;
    while (done < lines->size && !failed) {
        struct pollfd poller = {.fd = log->fd, .events = POLLOUT};
        size_t left = lines->size - done;
        ssize_t n;

        if (poll(&poller, 1, 0) != 1) {
            failed = EAGAIN;
            break;
        }
        n = write(log->fd, lines->bytes + done, left < MAX_PIPE_WRITE ? left : MAX_PIPE_WRITE);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR)
            failed = errno;
    }
    /* What a busy reader could not take is kept, as long as there is room for it. */
    if (failed == EAGAIN && lines->size - done < MAX_GATHERED / 2) {
        memmove(lines->bytes, lines->bytes + done, lines->size - done);
        lines->size -= done;
        return;
    }
    if (failed) {
        log->n_lost += count_lines(lines->bytes + done, lines->size - done);
        log->mid_line = done > 0 && lines->bytes[done - 1] != '\n';
        tell_loss(log, strerror(failed));
    }
    lines->size = 0;
}
