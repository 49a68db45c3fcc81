/* GET /openapi.yaml: docs/openapi.yaml, as it was when this was built. */
#include "http/internal.h"

static const char document[] =
#include "http/openapi.yaml.h"
    ;

void qd_route_openapi(struct qd_exchange *exchange)
{
    qd_reply_text(exchange, 200, "application/yaml", document, sizeof(document) - 1);
}
