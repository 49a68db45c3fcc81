#include "http/encoding.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "util/mem.h"

#define PIECE_SIZE 16384
#define GZIP_HEADER 16

struct qd_decoder {
    z_stream stream;
    const char *name;
    bool is_gzip, begun, ended;
    uint8_t first; /* of a deflate body: two bytes say which of the two forms it is */
    int n_first;
    size_t n_in;
};

static const struct {
    const char *name;
    bool is_gzip;
} encodings[] = {{"gzip", true}, {"x-gzip", true}, {"deflate", false}};

enum qd_status qd_decoder_new(const char *name, struct qd_decoder **ret, struct qd_error *err)
{
    *ret = NULL;
    if (!name || strcasecmp(name, "identity") == 0)
        return QD_OK;
    for (size_t i = 0; i < QD_ARRAY_SIZE(encodings); i++) {
        if (strcasecmp(name, encodings[i].name) != 0)
            continue;
        *ret = qd_alloc(sizeof(**ret));
        if (!*ret)
            return qd_error_set(err, QD_NO_MEMORY, "no memory to decompress a body");
        (*ret)->name = encodings[i].name;
        (*ret)->is_gzip = encodings[i].is_gzip;
        return QD_OK;
    }
    return qd_error_set(err, QD_UNSUPPORTED, "Content-Encoding: expected " QD_ENCODINGS " or identity, found '%.60s'", name);
}

void qd_decoder_free(struct qd_decoder *decoder)
{
    if (!decoder)
        return;
    if (decoder->begun)
        inflateEnd(&decoder->stream);
    qd_free(decoder);
}

/* RFC 1950: the first byte's method is 8, and both are a multiple of 31. Everything else is taken as RFC 1951's. */
static bool is_zlib(uint8_t a, uint8_t b)
{
    return (a & 15) == 8 && (a >> 4) <= 7 && ((a << 8) | b) % 31 == 0;
}

static enum qd_status begin(struct qd_decoder *decoder, int window_bits, struct qd_error *err)
{
    if (inflateInit2(&decoder->stream, window_bits) != Z_OK)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to decompress a body");
    decoder->begun = true;
    return QD_OK;
}

static enum qd_status inflate_piece(struct qd_decoder *decoder, const void *bytes, size_t size, struct qd_buf *body,
                                    struct qd_error *err)
{
    z_stream *stream = &decoder->stream;
    uint8_t piece[PIECE_SIZE];
    int code = Z_OK;
    enum qd_status status = QD_OK;

    stream->next_in = (z_const Bytef *)(uintptr_t)bytes;
    stream->avail_in = (uInt)size;
    while (status == QD_OK && (stream->avail_in || !stream->avail_out)) {
        /* A gzip body may be several members, one after the other. */
        if (decoder->ended && (!stream->avail_in || !decoder->is_gzip || inflateReset(stream) != Z_OK))
            break;
        decoder->ended = false;
        stream->next_out = piece;
        stream->avail_out = sizeof(piece);
        code = inflate(stream, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
            return qd_error_set(err, code == Z_MEM_ERROR ? QD_NO_MEMORY : QD_INVALID,
                                "body: expected Content-Encoding %s, found at byte %zu: %s", decoder->name,
                                decoder->n_in + size - stream->avail_in, stream->msg ? stream->msg : "a broken stream");
        status = qd_buf_append(body, piece, sizeof(piece) - stream->avail_out, err);
        decoder->ended = code == Z_STREAM_END;
    }
    if (status == QD_OK && decoder->ended && stream->avail_in)
        status = qd_error_set(err, QD_INVALID, "body: expected the end of its Content-Encoding %s at byte %zu, found more",
                              decoder->name, decoder->n_in + size - stream->avail_in);
    /* Empty blocks are input without output. */
    decoder->n_in += size;
    if (status == QD_OK && decoder->n_in > body->limit_bytes)
        status = qd_error_set(err, QD_TOO_LARGE, "expected at most %zu bytes, found more", body->limit_bytes);
    return status;
}

enum qd_status qd_decoder_add(struct qd_decoder *decoder, const void *bytes, size_t size, struct qd_buf *body,
                              struct qd_error *err)
{
    const uint8_t *in = bytes;
    enum qd_status status = QD_OK;

    if (!size)
        return QD_OK;
    if (!decoder->begun && decoder->is_gzip) {
        status = begin(decoder, MAX_WBITS + GZIP_HEADER, err);
    } else if (!decoder->begun && !decoder->n_first) {
        decoder->first = in[0];
        decoder->n_first = 1;
        return qd_decoder_add(decoder, in + 1, size - 1, body, err);
    } else if (!decoder->begun) {
        status = begin(decoder, is_zlib(decoder->first, in[0]) ? MAX_WBITS : -MAX_WBITS, err);
        if (status == QD_OK)
            status = inflate_piece(decoder, &decoder->first, 1, body, err);
    }
    return status == QD_OK ? inflate_piece(decoder, bytes, size, body, err) : status;
}

enum qd_status qd_decoder_finish(const struct qd_decoder *decoder, struct qd_error *err)
{
    if (decoder->ended)
        return QD_OK;
    return qd_error_set(err, QD_INVALID, "body: expected the whole of its Content-Encoding %s, found its end at byte %zu",
                        decoder->name, decoder->n_in + (decoder->begun ? 0 : (size_t)decoder->n_first));
}

/* "gzip;q=0.5": the quality in thousandths, 1000 where none is given. */
static int quality_of(const char *parameters, size_t length)
{
    for (size_t i = 0; i + 2 < length; i++) {
        if ((parameters[i] == 'q' || parameters[i] == 'Q') && parameters[i + 1] == '=' &&
            (i == 0 || strchr("; \t", parameters[i - 1]))) {
            double quality = strtod(parameters + i + 2, NULL);

            return quality >= 1 ? 1000 : quality > 0 ? (int)(quality * 1000) : 0;
        }
    }
    return 1000;
}

bool qd_accepts_gzip(const char *text)
{
    int gzip = -1, any = -1;

    while (text && *text) {
        size_t length, name_length;

        text += strspn(text, " \t,");
        length = strcspn(text, ",");
        name_length = strcspn(text, "; \t,");
        if ((name_length == 4 && strncasecmp(text, "gzip", 4) == 0) ||
            (name_length == 6 && strncasecmp(text, "x-gzip", 6) == 0))
            gzip = quality_of(text + name_length, length - name_length);
        else if (name_length == 1 && text[0] == '*')
            any = quality_of(text + 1, length - 1);
        text += length;
    }
    return gzip >= 0 ? gzip > 0 : any > 0;
}

void *qd_gzip(const void *bytes, size_t *size)
{
    z_stream stream = {0};
    size_t room = *size - *size / 16;
    char *out = malloc(room);
    bool is_smaller = false;

    if (out && deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + GZIP_HEADER, 8, Z_DEFAULT_STRATEGY) == Z_OK) {
        stream.next_in = (z_const Bytef *)(uintptr_t)bytes;
        stream.avail_in = (uInt)*size;
        stream.next_out = (Bytef *)out;
        stream.avail_out = (uInt)room;
        is_smaller = deflate(&stream, Z_FINISH) == Z_STREAM_END;
        deflateEnd(&stream);
    }
    if (!is_smaller) {
        free(out);
        return NULL;
    }
    *size = stream.total_out;
    return out;
}
