/* What ties a request to its caller's records: X-Request-Id, and W3C Trace Context
 * (https://www.w3.org/TR/trace-context/). */
#ifndef QD_HTTP_TRACE_H
#define QD_HTTP_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#define QD_REQUEST_ID_SIZE 129
#define QD_TRACE_ID_SIZE 33

/* Makes ids: random at the start, counted from there. */
struct qd_ids {
    uint64_t random, count;
};

void qd_ids_init(struct qd_ids *ids);

/* The caller's id if it has 1 to 128 characters out of letters, digits and ._~:/+=@- ; else a new one. */
void qd_request_id(struct qd_ids *ids, const char *given, char ret[QD_REQUEST_ID_SIZE]);

/* Whether text (or NULL) is a valid traceparent; its trace id. */
bool qd_traceparent(const char *text, char ret_trace_id[QD_TRACE_ID_SIZE]);

/* Whether text (or NULL) can be passed on: visible ASCII and blanks, 512 characters at most. */
bool qd_tracestate(const char *text);

#endif
