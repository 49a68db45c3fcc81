/* The pictures of a native request, from whatever form its body has. */
#include <string.h>
#include <strings.h>

#include "http/infer.h"
#include "util/base64.h"

static bool is_type(const char *content_type, const char *type)
{
    size_t length = strlen(type);

    return content_type && strncasecmp(content_type, type, length) == 0 &&
           (!content_type[length] || strchr("; \t", content_type[length]));
}

struct multipart {
    struct qd_infer *infer;
    struct qd_error *err;
    enum qd_status status;
    size_t *offsets; /* of each picture: the buffer moves as it grows */
};

/* A piece of a part; offset 0 begins one. */
static enum MHD_Result on_part(void *context, enum MHD_ValueKind kind, const char *key, const char *filename,
                               const char *content_type, const char *transfer_encoding, const char *data,
                               uint64_t offset, size_t size)
{
    struct multipart *m = context;
    struct qd_infer *infer = m->infer;

    (void)kind;
    (void)key;
    (void)filename;
    (void)content_type;
    (void)transfer_encoding;
    if (offset == 0) {
        if (infer->n < infer->capacity)
            m->offsets[infer->n] = infer->parts.size;
        m->status = qd_infer_add(infer, NULL, 0, m->err);
    }
    if (m->status == QD_OK)
        m->status = qd_buf_append(&infer->parts, data, size, m->err);
    if (m->status == QD_OK)
        infer->sizes[infer->n - 1] += size;
    return m->status == QD_OK ? MHD_YES : MHD_NO;
}

static enum qd_status read_multipart(struct qd_infer *infer, struct qd_error *err)
{
    struct qd_exchange *exchange = infer->exchange;
    struct multipart m = {infer, err, QD_OK, NULL};
    struct MHD_PostProcessor *processor;

    m.offsets = qd_arena_array(&infer->arena, (size_t)infer->capacity, sizeof(*m.offsets));
    if (!m.offsets)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for pictures");
    processor = MHD_create_post_processor(exchange->connection, 65536, on_part, &m);
    if (!processor)
        return qd_error_set(err, QD_INVALID, "multipart/form-data: expected a boundary in Content-Type");
    infer->is_batch = true;
    qd_buf_init(&infer->parts, exchange->body.limit_bytes);
    if (exchange->body.size)
        MHD_post_process(processor, (const char *)exchange->body.bytes, exchange->body.size);
    if (MHD_destroy_post_processor(processor) != MHD_YES && m.status == QD_OK)
        m.status = qd_error_set(err, QD_INVALID, "multipart/form-data: the body is broken or cut");
    for (int i = 0; i < infer->n; i++)
        infer->bytes[i] = infer->parts.bytes + m.offsets[i];
    if (m.status == QD_OK && !infer->n)
        m.status = qd_error_set(err, QD_INVALID, "multipart/form-data: expected at least one part, found none");
    return m.status;
}

static enum qd_status add_base64(struct qd_infer *infer, const json_t *item, struct qd_error *err)
{
    const json_t *b64 = json_object_get(item, "b64");
    const void *bytes;
    size_t size;
    enum qd_status status;

    if (!json_is_string(b64))
        return qd_error_set(err, QD_INVALID, "images[%d]: expected {\"b64\": \"...\"}", infer->n);
    status = qd_base64_read(&infer->arena, json_string_value(b64), json_string_length(b64), &bytes, &size, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "images[%d].b64", infer->n);
    return qd_infer_add(infer, bytes, size, err);
}

static enum qd_status read_json(struct qd_infer *infer, struct qd_error *err)
{
    const struct qd_buf *body = &infer->exchange->body;
    const json_t *images;
    json_t *root;
    enum qd_status status = qd_json_read(body->bytes, body->size, &root, err);

    if (status != QD_OK)
        return status;
    images = json_object_get(root, "images");
    infer->is_batch = true;
    if (!json_is_array(images) || !json_array_size(images))
        status = qd_error_set(err, QD_INVALID, "JSON: expected {\"images\": [{\"b64\": \"...\"}]}");
    for (size_t i = 0; i < json_array_size(images) && status == QD_OK; i++)
        status = add_base64(infer, json_array_get(images, i), err);
    json_decref(root);
    return status;
}

static enum qd_status read_one(struct qd_infer *infer, struct qd_error *err)
{
    const struct qd_buf *body = &infer->exchange->body;

    return qd_infer_add(infer, body->size ? (const void *)body->bytes : "", body->size, err);
}

static enum qd_status read_raw(struct qd_infer *infer, struct qd_error *err)
{
    const struct qd_buf *body = &infer->exchange->body;

    infer->is_batch = true;
    return qd_infer_add_raw(infer, body->size ? (const void *)body->bytes : "", body->size, err);
}

static const struct {
    const char *content_type;
    enum qd_status (*read)(struct qd_infer *infer, struct qd_error *err);
} forms[] = {
    {"image/jpeg", read_one},
    {"image/jpg", read_one},
    {"image/png", read_one},
    {"multipart/form-data", read_multipart},
    {"application/json", read_json},
    {"application/octet-stream", read_raw},
};

enum qd_status qd_pictures_read(struct qd_infer *infer, struct qd_error *err)
{
    const char *type = qd_exchange_header(infer->exchange, "Content-Type");

    for (size_t i = 0; i < QD_ARRAY_SIZE(forms); i++)
        if (is_type(type, forms[i].content_type))
            return forms[i].read(infer, err);
    return qd_error_set(err, QD_UNSUPPORTED,
                        "Content-Type: expected image/jpeg, image/png, multipart/form-data, application/json or "
                        "application/octet-stream, found '%.60s'",
                        type ? type : "none");
}
