/* What is there and how it does: metrics, health. */
#include "http/internal.h"

#define MAX_METRICS_BYTES ((size_t)64 << 20)

void qd_route_metrics(struct qd_exchange *exchange)
{
    struct qd_error err = {""};
    struct qd_buf out;
    enum qd_status status;

    qd_buf_init(&out, MAX_METRICS_BYTES);
    status = qd_metrics_print(exchange->http->options.registry, exchange->http->options.isa, &out, &err);
    if (status == QD_OK)
        qd_reply_text(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", out.bytes, out.size);
    else
        qd_reply_error(exchange, status, &err);
    qd_buf_done(&out);
}

void qd_route_healthz(struct qd_exchange *exchange)
{
    qd_reply_json(exchange, 200, json_pack("{s:s}", "status", "live"));
}

/* Answers why not, where it is not ready. */
static bool is_ready(struct qd_exchange *exchange)
{
    bool is_draining = atomic_load(&exchange->http->draining);

    if (!is_draining && qd_registry_is_ready(exchange->http->options.registry))
        return true;
    qd_reply_error_as(exchange, 503, qd_status_name(QD_UNAVAILABLE),
                      is_draining ? "draining" : "models are still loading, or none could be loaded");
    return false;
}

void qd_route_readyz(struct qd_exchange *exchange)
{
    if (is_ready(exchange))
        qd_reply_json(exchange, 200, json_pack("{s:s}", "status", "ready"));
}

void qd_route_v2_ready(struct qd_exchange *exchange)
{
    if (is_ready(exchange))
        qd_reply_json(exchange, 200, json_pack("{s:b}", "ready", 1));
}
