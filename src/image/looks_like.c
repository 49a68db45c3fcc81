#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "image/internal.h"
#include "util/mem.h"

/* Bytes at a fixed place. Longer rows stand before the shorter ones that they contain. */
static const struct {
    size_t offset;
    size_t size;
    const char *magic;
    const char *name;
} binary_looks[] = {
    {0, 4, "GIF8", "a GIF picture"},
    {8, 4, "WEBP", "a WebP picture"},
    {0, 4, "II*\0", "a TIFF picture"},
    {0, 4, "MM\0*", "a TIFF picture"},
    {4, 8, "ftypavif", "an AVIF picture"},
    {4, 8, "ftypavis", "an AVIF picture"},
    {4, 8, "ftypheic", "a HEIC picture"},
    {4, 8, "ftypheix", "a HEIC picture"},
    {4, 8, "ftyphevc", "a HEIC picture"},
    {4, 8, "ftypmif1", "a HEIF picture"},
    {4, 8, "ftypmsf1", "a HEIF picture"},
    {4, 4, "ftyp", "an MP4 video"},
    {0, 8, "\0\0\0\14JXL ", "a JPEG XL picture"},
    {0, 2, "\377\12", "a JPEG XL picture"},
    {0, 8, "\0\0\0\14jP  ", "a JPEG 2000 picture"},
    {0, 4, "\377\117\377\121", "a JPEG 2000 picture"},
    {0, 4, "8BPS", "a Photoshop file"},
    {0, 5, "%PDF-", "a PDF document"},
    {0, 4, "PK\3\4", "a ZIP archive"},
    {0, 2, "\37\213", "gzip data"},
    {0, 6, "\223NUMPY", "a NumPy array"},
    {0, 2, "BM", "a BMP picture"},
};

/* How text begins, after white space, in any case of letters. */
static const struct {
    const char *start;
    const char *name;
} text_looks[] = {
    {"<!doctype html", "HTML"},
    {"<html", "HTML"},
    {"<svg", "an SVG picture"},
    {"<?xml", "XML"},
    {"{", "JSON"},
    {"[", "JSON"},
    {"data:image/", "a data: URL"},
    {"/9j/", "a JPEG picture in base64"},
    {"iVBORw0KGgo", "a PNG picture in base64"},
    {"http://", "a URL"},
    {"https://", "a URL"},
    {"--", "a multipart body"},
};

static bool is_text(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] < ' ' ? !strchr("\t\r\n\f", bytes[i]) || !bytes[i] : bytes[i] == 0x7f)
            return false;
    return true;
}

static const char *text_look(const uint8_t *bytes, size_t size, char text[QD_LOOKS_TEXT_SIZE])
{
    char quote[33];
    size_t length = 0;

    for (size_t i = 0; i < QD_ARRAY_SIZE(text_looks); i++) {
        size_t start_size = strlen(text_looks[i].start);

        if (size >= start_size && !strncasecmp((const char *)bytes, text_looks[i].start, start_size))
            return text_looks[i].name;
    }
    while (length < size && length < sizeof(quote) - 1 && bytes[length] >= ' ' && bytes[length] < 0x7f) {
        quote[length] = (char)bytes[length];
        length++;
    }
    quote[length] = 0;
    snprintf(text, QD_LOOKS_TEXT_SIZE, "text that begins '%s'", quote);
    return text;
}

const char *qd_looks_like(const uint8_t *bytes, size_t size, char text[QD_LOOKS_TEXT_SIZE])
{
    size_t n_head = size < 64 ? size : 64;
    size_t n_shown = size < 8 ? size : 8;
    int used;

    if (!size)
        return "nothing (0 bytes)";
    for (size_t i = 0; i < QD_ARRAY_SIZE(binary_looks); i++)
        if (size >= binary_looks[i].offset + binary_looks[i].size &&
            !memcmp(bytes + binary_looks[i].offset, binary_looks[i].magic, binary_looks[i].size))
            return binary_looks[i].name;
    if (is_text(bytes, n_head)) {
        size_t skip = size >= 3 && !memcmp(bytes, "\357\273\277", 3) ? 3 : 0;

        while (skip < size && skip < 1024 && strchr(" \t\r\n", bytes[skip]))
            skip++;
        if (skip < size && bytes[skip] >= ' ' && bytes[skip] < 0x7f)
            return text_look(bytes + skip, size - skip, text);
    }
    used = snprintf(text, QD_LOOKS_TEXT_SIZE, "%zu bytes that begin", size);
    for (size_t i = 0; i < n_shown; i++)
        used += snprintf(text + used, QD_LOOKS_TEXT_SIZE - (size_t)used, " %02x", bytes[i]);
    return text;
}
