#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mem.h"

/* Read at once from a file that holds more than it said. */
#define READ_SIZE ((size_t)16384)

static enum qd_status fail(struct qd_error *err, const char *doing, const char *path)
{
    enum qd_status status = errno == ENOENT || errno == ENOTDIR ? QD_NOT_FOUND : QD_IO;

    return qd_error_set(err, status, "cannot %s '%s': %s", doing, path, strerror(errno));
}

/* size: what the file is said to hold; it may be more or less by now. */
static enum qd_status read_all(int fd, const char *path, size_t size, struct qd_buf *buf, struct qd_error *err)
{
    for (;;) {
        /* One byte more than is expected, so that the end shows itself without growing. */
        size_t want = size >= buf->size ? size - buf->size + 1 : READ_SIZE;
        enum qd_status status;
        ssize_t n;

        if (size < buf->size && buf->size <= buf->limit_bytes && want > buf->limit_bytes - buf->size + 1)
            want = buf->limit_bytes - buf->size + 1;
        status = qd_buf_reserve(buf, want - 1, err);
        if (status != QD_OK)
            return qd_error_context(err, status, "'%s'", path);
        n = read(fd, buf->bytes + buf->size, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "read", path);
        buf->size += (size_t)n;
        if (n == 0) {
            buf->bytes[buf->size] = 0;
            return QD_OK;
        }
    }
}

static enum qd_status open_regular(const char *path, int *ret_fd, size_t *ret_size, struct qd_error *err)
{
    struct stat info;
    /* Not blocking, so that a FIFO planted in an image folder cannot hang us. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum qd_status status = QD_OK;

    if (fd < 0)
        return fail(err, "open", path);
    if (fstat(fd, &info) < 0)
        status = fail(err, "stat", path);
    else if (!S_ISREG(info.st_mode))
        status = qd_error_set(err, QD_INVALID, "'%s': expected a regular file", path);
    if (status != QD_OK) {
        close(fd);
        return status;
    }
    *ret_fd = fd;
    *ret_size = (size_t)info.st_size;
    return QD_OK;
}

enum qd_status qd_file_read(const char *path, size_t limit_bytes, struct qd_buf *ret_buf, struct qd_error *err)
{
    struct qd_buf buf;
    size_t size = 0;
    int fd = -1;
    enum qd_status status = open_regular(path, &fd, &size, err);

    if (status != QD_OK)
        return status;
    qd_buf_init(&buf, limit_bytes);
    status = read_all(fd, path, size, &buf, err);
    close(fd);
    if (status != QD_OK) {
        qd_buf_done(&buf);
        return status;
    }
    *ret_buf = buf;
    return QD_OK;
}

static enum qd_status read_part(int fd, const char *path, uint64_t offset, size_t size, struct qd_buf *buf,
                                struct qd_error *err)
{
    enum qd_status status = qd_buf_reserve(buf, size, err);

    while (buf->size < size && status == QD_OK) {
        ssize_t n = pread(fd, buf->bytes + buf->size, size - buf->size, (off_t)(offset + buf->size));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "read", path);
        if (n == 0)
            return qd_error_set(err, QD_INVALID, "'%s': it became shorter while it was read", path);
        buf->size += (size_t)n;
    }
    return status;
}

enum qd_status qd_file_read_part(const char *path, uint64_t offset, size_t size, struct qd_buf *ret_buf,
                                 struct qd_error *err)
{
    struct qd_buf buf;
    size_t whole = 0;
    int fd = -1;
    enum qd_status status = open_regular(path, &fd, &whole, err);

    if (status != QD_OK)
        return status;
    qd_buf_init(&buf, size + 1);
    if (offset > whole || whole - offset < size)
        status = qd_error_set(err, QD_INVALID, "'%s': expected %zu bytes at offset %llu, the file has %zu", path, size,
                              (unsigned long long)offset, whole);
    else
        status = read_part(fd, path, offset, size, &buf, err);
    close(fd);
    if (status != QD_OK) {
        qd_buf_done(&buf);
        return status;
    }
    *ret_buf = buf;
    return QD_OK;
}

static enum qd_status write_all(int fd, const char *path, const uint8_t *bytes, size_t size, struct qd_error *err)
{
    while (size) {
        ssize_t n = write(fd, bytes, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, "write", path);
        bytes += n;
        size -= (size_t)n;
    }
    if (fsync(fd) < 0)
        return fail(err, "sync", path);
    return QD_OK;
}

/* The folder's entry must reach the disk too, or a power cut may undo the rename. */
static void sync_parent(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    int fd;

    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

enum qd_status qd_file_write_atomic(const char *path, const void *bytes, size_t size, struct qd_error *err)
{
    /* Processes and threads that write the same file must not write the same temporary one. */
    static atomic_uint n_writes;
    char temporary[4096];
    enum qd_status status;
    int fd;

    if (snprintf(temporary, sizeof(temporary), "%s.%ld.%u.tmp", path, (long)getpid(), atomic_fetch_add(&n_writes, 1)) >=
        (int)sizeof(temporary))
        return qd_error_set(err, QD_INVALID, "path is too long: '%.100s...'", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail(err, "create", temporary);
    status = write_all(fd, temporary, bytes, size, err);
    if (close(fd) < 0 && status == QD_OK)
        status = fail(err, "close", temporary);
    if (status == QD_OK && rename(temporary, path) < 0)
        status = fail(err, "rename onto", path);
    if (status != QD_OK) {
        unlink(temporary);
        return status;
    }
    sync_parent(path);
    return QD_OK;
}

enum qd_status qd_folder_make(const char *path, struct qd_error *err)
{
    char part[4096];

    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
        return qd_error_set(err, QD_INVALID, "path is too long: '%.100s...'", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return fail(err, "make folder", part);
        *p = '/';
    }
    if (mkdir(part, 0755) < 0 && errno != EEXIST)
        return fail(err, "make folder", part);
    if (!qd_is_folder(path))
        return qd_error_set(err, QD_IO, "'%s' is not a folder", path);
    return QD_OK;
}

bool qd_is_folder(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool qd_is_file(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

char *qd_path_join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path;

    if (name[0] == '/')
        return qd_strdup(name);
    path = qd_alloc(size);
    if (path)
        snprintf(path, size, "%s/%s", folder, name);
    return path;
}
