/* GET /: the status page, whose parts in web/ the build joins to one file that needs nothing else. */
#include <stdio.h>
#include <string.h>

#include "http/internal.h"
#include "util/base64.h"

static const char page[] =
#include "http/web/page.html.h"
    ;

/* By Content Security Policy, level 3: the base64 of the SHA-256 of the text between two tags. NULL without memory. */
static char *hash_between(const char *begin_tag, const char *end_tag)
{
    const char *begin = strstr(page, begin_tag) + strlen(begin_tag), *end = strstr(begin, end_tag);
    struct qd_hash hash = qd_hash_of(begin, (size_t)(end - begin));

    return qd_base64_encode(&hash, sizeof(hash));
}

enum qd_status qd_page_init(struct qd_page *ret, struct qd_error *err)
{
    char *script = hash_between("<script>", "</script>"), *style = hash_between("<style>", "</style>");
    struct qd_hash hash = qd_hash_of(page, sizeof(page) - 1);
    char hex[QD_HASH_HEX_SIZE];
    bool has_both = script && style;

    qd_hash_hex(&hash, hex);
    snprintf(ret->tag, sizeof(ret->tag), "W/\"%.16s\"", hex); /* weak: it is the same page in gzip */
    snprintf(ret->policy, sizeof(ret->policy),
             "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; "
             "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             script ? script : "", style ? style : "");
    qd_free(script);
    qd_free(style);
    return has_both ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for the status page");
}

void qd_route_page(struct qd_exchange *exchange)
{
    const char *known = qd_exchange_header(exchange, "If-None-Match");
    bool is_known = known && strstr(known, exchange->http->page.tag + 2); /* without W/, which does not count here */

    exchange->is_page = true;
    if (is_known)
        qd_reply_text(exchange, 304, NULL, "", 0);
    else
        qd_reply_text(exchange, 200, "text/html; charset=utf-8", page, sizeof(page) - 1);
}
