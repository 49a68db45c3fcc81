/* RFC 4648's base64: bytes inside JSON. */
#ifndef QD_UTIL_BASE64_H
#define QD_UTIL_BASE64_H

#include <stddef.h>

#include "util/mem.h"

/* A new string, for qd_free; NULL without memory. */
char *qd_base64_encode(const void *bytes, size_t size);

/* Exactly size bytes out of a text of any length. QD_INVALID: another number of them, or not base64. */
enum qd_status qd_base64_decode(const char *text, size_t text_size, void *ret_bytes, size_t size, struct qd_error *err);

/* However many bytes the text holds, into memory of the arena. QD_INVALID: not base64. */
enum qd_status qd_base64_read(struct qd_arena *arena, const char *text, size_t text_size, const void **ret_bytes,
                              size_t *ret_size, struct qd_error *err);

#endif
