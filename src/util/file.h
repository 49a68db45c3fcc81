/* Whole files in and out. */
#ifndef QD_UTIL_FILE_H
#define QD_UTIL_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"
#include "util/status.h"

/*
 * Reads a regular file into buf (initialised here; the caller calls qd_buf_done on success).
 * QD_NOT_FOUND, QD_IO, QD_TOO_LARGE past limit_bytes; the text names the path.
 */
enum qd_status qd_file_read(const char *path, size_t limit_bytes, struct qd_buf *ret_buf, struct qd_error *err);

/* The same of size bytes from offset on; QD_INVALID where the file ends before. */
enum qd_status qd_file_read_part(const char *path, uint64_t offset, size_t size, struct qd_buf *ret_buf,
                                 struct qd_error *err);

/*
 * Writes a file so that a reader sees the old content or the new, never a part, whatever happens: a temporary file in
 * the same folder, fsync, rename, fsync of the folder. The temporary file is removed on failure.
 */
enum qd_status qd_file_write_atomic(const char *path, const void *bytes, size_t size, struct qd_error *err);

/* Makes the folder and its missing parents (mode 0755). */
enum qd_status qd_folder_make(const char *path, struct qd_error *err);

bool qd_is_folder(const char *path);
bool qd_is_file(const char *path);

/* folder + "/" + name in new memory (name alone when it is absolute); NULL without memory. */
char *qd_path_join(const char *folder, const char *name);

#endif
