#include "util/base64.h"

#include <nettle/base64.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/mem.h"

char *qd_base64_encode(const void *bytes, size_t size)
{
    size_t length = BASE64_ENCODE_RAW_LENGTH(size);
    char *text = qd_alloc(length + 1);

    if (text)
        base64_encode_raw(text, size, bytes);
    return text;
}

enum qd_status qd_base64_decode(const char *text, size_t text_size, void *ret_bytes, size_t size, struct qd_error *err)
{
    struct base64_decode_ctx context;
    size_t decoded = BASE64_DECODE_LENGTH(text_size);
    uint8_t *bytes;
    bool good;

    /* What is decoded may be up to two bytes less than the bound, so the exact size is known only afterwards. */
    if (text_size != BASE64_ENCODE_RAW_LENGTH(size))
        return qd_error_set(err, QD_INVALID, "expected %zu bytes as base64, found %zu characters", size, text_size);
    bytes = qd_alloc(decoded + 1);
    if (!bytes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for base64");
    base64_decode_init(&context);
    good = base64_decode_update(&context, &decoded, bytes, text_size, text) && base64_decode_final(&context) &&
           decoded == size;
    if (good)
        memcpy(ret_bytes, bytes, size);
    qd_free(bytes);
    return good ? QD_OK : qd_error_set(err, QD_INVALID, "expected %zu bytes as base64, found something else", size);
}
