#include "http/trace.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "util/clock.h"

#define MAX_TRACESTATE 512

void qd_ids_init(struct qd_ids *ids)
{
    ids->count = 0;
    if (getrandom(&ids->random, sizeof(ids->random), GRND_NONBLOCK) != sizeof(ids->random))
        ids->random = (uint64_t)qd_now_us();
}

void qd_request_id(struct qd_ids *ids, const char *given, char ret[QD_REQUEST_ID_SIZE])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~:/+=@-";
    size_t length = given ? strspn(given, allowed) : 0;

    if (length && length < QD_REQUEST_ID_SIZE && !given[length])
        memcpy(ret, given, length + 1);
    else
        snprintf(ret, QD_REQUEST_ID_SIZE, "%016" PRIx64 "-%" PRIx64, ids->random, ++ids->count);
}

/* n lower-case hexadecimal digits, not all of them 0. */
static bool is_hex(const char *text, size_t n, bool may_be_zero)
{
    return strspn(text, "0123456789abcdef") >= n && (may_be_zero || strspn(text, "0") < n);
}

bool qd_traceparent(const char *text, char ret_trace_id[QD_TRACE_ID_SIZE])
{
    /* version-traceid-parentid-flags; a later version may go on after a further '-'. */
    static const size_t length = 2 + 1 + 32 + 1 + 16 + 1 + 2;

    ret_trace_id[0] = 0;
    if (!text || strlen(text) < length || !is_hex(text, 2, true) || strncmp(text, "ff", 2) == 0 || text[2] != '-' ||
        !is_hex(text + 3, 32, false) || text[35] != '-' || !is_hex(text + 36, 16, false) || text[52] != '-' ||
        !is_hex(text + 53, 2, true))
        return false;
    if (text[length] && (strncmp(text, "00", 2) == 0 || text[length] != '-'))
        return false;
    memcpy(ret_trace_id, text + 3, 32);
    ret_trace_id[32] = 0;
    return true;
}

bool qd_tracestate(const char *text)
{
    size_t length = 0;

    for (; text && text[length]; length++)
        if (text[length] < ' ' || text[length] > '~')
            return false;
    return length > 0 && length <= MAX_TRACESTATE;
}
