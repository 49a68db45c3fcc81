#include "util/base64.h"

#include <nettle/base64.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>


char *qd_base64_encode(const void *bytes, size_t size)
{
    size_t length = BASE64_ENCODE_RAW_LENGTH(size);
    char *text = qd_alloc(length + 1);

    if (text)
        base64_encode_raw(text, size, bytes);
    return text;
}

/* What is decoded may be up to two bytes less than the bound of bytes, so the exact size is known only afterwards. */
static bool decode(const char *text, size_t text_size, uint8_t *bytes, size_t *ret_size)
{
    struct base64_decode_ctx context;

    *ret_size = BASE64_DECODE_LENGTH(text_size);
    base64_decode_init(&context);
    return base64_decode_update(&context, ret_size, bytes, text_size, text) && base64_decode_final(&context);
}

enum qd_status qd_base64_decode(const char *text, size_t text_size, void *ret_bytes, size_t size, struct qd_error *err)
{
    size_t decoded;
    uint8_t *bytes;
    bool good;

    if (text_size != BASE64_ENCODE_RAW_LENGTH(size))
        return qd_error_set(err, QD_INVALID, "expected %zu bytes as base64, found %zu characters", size, text_size);
    bytes = qd_alloc(BASE64_DECODE_LENGTH(text_size) + 1);
    if (!bytes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for base64");
    good = decode(text, text_size, bytes, &decoded) && decoded == size;
    if (good)
        memcpy(ret_bytes, bytes, size);
    qd_free(bytes);
    return good ? QD_OK : qd_error_set(err, QD_INVALID, "expected %zu bytes as base64, found something else", size);
}

enum qd_status qd_base64_read(struct qd_arena *arena, const char *text, size_t text_size, const void **ret_bytes,
                              size_t *ret_size, struct qd_error *err)
{
    uint8_t *bytes = qd_arena_alloc(arena, BASE64_DECODE_LENGTH(text_size) + 1);

    if (!bytes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for base64");
    if (!decode(text, text_size, bytes, ret_size))
        return qd_error_set(err, QD_INVALID, "not base64");
    *ret_bytes = bytes;
    return QD_OK;
}
