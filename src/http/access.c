#include "http/access.h"

#include <arpa/inet.h>
#include <nettle/memops.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "http/internal.h"
#include "util/file.h"

#define MAX_TOKEN_FILE_BYTES 4096
#define MIN_TOKEN_LENGTH 16

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum qd_status qd_token_read(struct qd_token *token, const char *path, struct qd_error *ret_warning,
                             struct qd_error *err)
{
    const char *begin, *end;
    struct qd_buf buf;
    struct stat info;
    enum qd_status status;

    ret_warning->text[0] = 0;
    if (!path[0]) {
        token->is_set = false;
        return QD_OK;
    }
    status = qd_file_read(path, MAX_TOKEN_FILE_BYTES, &buf, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "admin_token_file");
    begin = buf.bytes ? (const char *)buf.bytes : "";
    end = begin + buf.size;
    while (begin < end && is_blank(*begin))
        begin++;
    while (end > begin && is_blank(end[-1]))
        end--;
    if (end - begin < MIN_TOKEN_LENGTH)
        status = qd_error_set(err, QD_INVALID, "admin_token_file: '%s': expected at least %d characters, found %d",
                              path, MIN_TOKEN_LENGTH, (int)(end - begin));
    for (const char *c = begin; c < end && status == QD_OK; c++)
        if (*c <= ' ' || *c >= 0x7f)
            status = qd_error_set(err, QD_INVALID,
                                  "admin_token_file: '%s': expected one line of visible ASCII characters", path);
    if (status == QD_OK) {
        token->hash = qd_hash_of(begin, (size_t)(end - begin));
        token->is_set = true;
        if (stat(path, &info) == 0 && (info.st_mode & S_IRWXO))
            qd_error_set(ret_warning, QD_OK, "admin_token_file: '%s' is open to every user: expected mode 640 or less",
                         path);
    }
    qd_buf_done(&buf);
    return status;
}

enum qd_status qd_origin_check(const char *origin, struct qd_error *err)
{
    const char *host = strstr(origin, "://");

    if (!origin[0] || strcmp(origin, "*") == 0)
        return QD_OK;
    if (!host || host == origin || !host[3] || host[3 + strcspn(host + 3, "/ ,\t\r\n")])
        return qd_error_set(err, QD_INVALID,
                            "cors_origin: expected * or one origin such as https://example.org, found '%.80s'", origin);
    return QD_OK;
}

const char *qd_access_origin(const struct qd_exchange *exchange)
{
    const char *allowed = exchange->http->options.cors_origin, *origin = qd_exchange_header(exchange, "Origin");

    if (!allowed[0] || !origin || (strcmp(allowed, "*") != 0 && strcmp(allowed, origin) != 0))
        return NULL;
    return allowed;
}

/*
 * A page of another site that the browser of somebody on this machine shows; "null" is one, too. That all pages may
 * read (cors_origin = *) does not make them the administrator's.
 */
static bool is_foreign_page(const struct qd_exchange *exchange)
{
    const char *origin = qd_exchange_header(exchange, "Origin"), *host = qd_exchange_header(exchange, "Host");
    const char *origin_host = origin ? strstr(origin, "://") : NULL;

    if (!origin || strcmp(origin, exchange->http->options.cors_origin) == 0)
        return false;
    return !origin_host || !host || strcasecmp(origin_host + 3, host) != 0;
}

/*
 * A name that only this machine answers to. A page can have any other name resolve to a loopback address (DNS
 * rebinding), and then its own origin is that of the server.
 */
static bool is_own_name(const char *host)
{
    size_t length = host ? strcspn(host, ":") : 0;
    struct in_addr address;
    char name[64];

    if (host && host[0] == '[')
        return strncmp(host, "[::1]", 5) == 0 && (!host[5] || host[5] == ':');
    if (!length || length >= sizeof(name))
        return false;
    memcpy(name, host, length);
    name[length] = 0;
    return strcasecmp(name, "localhost") == 0 ||
           (inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

/* The header that says that a proxy passed this on, or NULL. */
static const char *proxy_header(const struct qd_exchange *exchange)
{
    static const char *const names[] = {"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"};

    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++)
        if (qd_exchange_header(exchange, names[i]))
            return names[i];
    return NULL;
}

static bool has_token(const struct qd_exchange *exchange, bool *ret_given)
{
    const char *text = qd_exchange_header(exchange, "Authorization");
    struct qd_hash hash;

    *ret_given = text && strncasecmp(text, "Bearer ", 7) == 0;
    if (!*ret_given)
        return false;
    text += 7;
    while (*text == ' ')
        text++;
    hash = qd_hash_of(text, strlen(text));
    return memeql_sec(&hash, &exchange->http->token.hash, sizeof(hash)) != 0;
}

void qd_access_check(struct qd_exchange *exchange)
{
    bool given;

    if (!exchange->route->changes_state)
        return;
    if (exchange->http->token.is_set) {
        if (has_token(exchange, &given))
            return;
        exchange->authenticate = given ? "Bearer realm=\"quantd\", error=\"invalid_token\"" : "Bearer realm=\"quantd\"";
        qd_reply_error_as(exchange, 401, "unauthorized",
                          given
                              ? "Authorization: the token is not the one in admin_token_file"
                              : "this call changes state: expected 'Authorization: Bearer TOKEN' with the admin token");
    } else if (!exchange->client->is_loopback) {
        qd_reply_error_as(
            exchange, 403, "forbidden",
            "this call changes state: without admin_token_file it is accepted from the loopback interface "
            "and unix sockets only");
    } else if (proxy_header(exchange)) {
        qd_reply_error_as(exchange, 403, "forbidden",
                          "this call changes state and came through a proxy: set admin_token_file to allow it");
    } else if (!exchange->client->is_unix && !is_own_name(qd_exchange_header(exchange, "Host"))) {
        qd_reply_error_as(exchange, 403, "forbidden",
                          "this call changes state: without admin_token_file, Host has to be localhost or a loopback "
                          "address");
    } else if (is_foreign_page(exchange)) {
        qd_reply_error_as(exchange, 403, "forbidden",
                          "this call changes state and came from a page of another origin: set admin_token_file, or "
                          "cors_origin to that origin, to allow it");
    }
}
