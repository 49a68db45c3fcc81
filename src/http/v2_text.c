#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/v2.h"

#define MAX_NESTING 16

/* Where the splitter is: how deep, and what the last key was. */
struct splitter {
    const char *text;
    size_t size, at, copied; /* copied: up to where it went to the output */
    int depth;
    bool in_inputs; /* between the brackets of the root's "inputs" */
    struct qd_v2_text *out;
};

/* Past a string that begins at from; size where it does not end. */
static size_t skip_string(const char *text, size_t size, size_t from)
{
    for (size_t i = from + 1; i < size; i++) {
        if (text[i] == '\\')
            i++;
        else if (text[i] == '"')
            return i + 1;
    }
    return size;
}

static size_t skip_blanks(const char *text, size_t size, size_t from)
{
    while (from < size && strchr(" \t\r\n", text[from]) && text[from])
        from++;
    return from;
}

/* The end of an array without strings and objects in it that begins at from, or 0. */
static size_t end_of_numbers(const char *text, size_t size, size_t from)
{
    int depth = 0;

    for (size_t i = from; i < size; i++) {
        if (text[i] == '"' || text[i] == '{')
            return 0;
        if (text[i] == '[')
            depth++;
        else if (text[i] == ']' && --depth == 0)
            return i + 1;
    }
    return 0;
}

static enum qd_status take_span(struct splitter *s, size_t from, size_t end, struct qd_error *err)
{
    struct qd_v2_text *out = s->out;
    enum qd_status status =
        qd_grow((void **)&out->spans, &out->capacity, out->n_spans + 1, sizeof(*out->spans), err);

    if (status == QD_OK)
        status = qd_buf_append(&out->json, s->text + s->copied, from - s->copied, err);
    if (status == QD_OK)
        status = qd_buf_printf(&out->json, err, "[%zu]", out->n_spans);
    if (status != QD_OK)
        return status;
    out->spans[out->n_spans++] = (struct qd_v2_span){s->text + from, end - from};
    s->copied = s->at = end;
    return QD_OK;
}

/* At a string: a key with an array behind it, or any other. */
static enum qd_status step_string(struct splitter *s, struct qd_error *err)
{
    size_t end = skip_string(s->text, s->size, s->at), value = skip_blanks(s->text, s->size, end), stop;
    const char *key = s->text + s->at + 1;
    size_t length = end - s->at - 2;

    s->at = end;
    if (value >= s->size || s->text[value] != ':')
        return QD_OK;
    value = skip_blanks(s->text, s->size, value + 1);
    if (value >= s->size || s->text[value] != '[')
        return QD_OK;
    if (s->depth == 1 && length == 6 && memcmp(key, "inputs", 6) == 0)
        s->in_inputs = true;
    if (!s->in_inputs || s->depth != 3 || length != 4 || memcmp(key, "data", 4) != 0)
        return QD_OK;
    stop = end_of_numbers(s->text, s->size, value);
    return stop ? take_span(s, value, stop, err) : QD_OK;
}

enum qd_status qd_v2_text_split(const char *text, size_t size, struct qd_v2_text *ret, struct qd_error *err)
{
    struct splitter s = {.text = text, .size = size, .out = ret};
    enum qd_status status = QD_OK;

    memset(ret, 0, sizeof(*ret));
    qd_buf_init(&ret->json, size + 64);
    while (s.at < size && status == QD_OK) {
        if (text[s.at] == '"') {
            status = step_string(&s, err);
            continue;
        }
        if (text[s.at] == '[' || text[s.at] == '{') {
            s.depth++;
        } else if (text[s.at] == ']' || text[s.at] == '}') {
            s.depth--;
            if (s.depth == 1)
                s.in_inputs = false;
        }
        s.at++;
    }
    if (status == QD_OK)
        status = qd_buf_append(&ret->json, text + s.copied, size - s.copied, err);
    if (status != QD_OK)
        qd_v2_text_done(ret);
    return status;
}

void qd_v2_text_done(struct qd_v2_text *split)
{
    qd_buf_done(&split->json);
    qd_free(split->spans);
    split->spans = NULL;
    split->n_spans = split->capacity = 0;
}

/* The length of a number by JSON's grammar, 0 where there is none. */
static size_t number_length(const char *text, size_t size)
{
    size_t i = size && text[0] == '-', digits = i;

    while (i < size && text[i] >= '0' && text[i] <= '9')
        i++;
    if (i == digits || (text[digits] == '0' && i > digits + 1))
        return 0;
    if (i < size && text[i] == '.') {
        digits = ++i;
        while (i < size && text[i] >= '0' && text[i] <= '9')
            i++;
        if (i == digits)
            return 0;
    }
    if (i < size && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        i += i < size && (text[i] == '+' || text[i] == '-');
        digits = i;
        while (i < size && text[i] >= '0' && text[i] <= '9')
            i++;
        if (i == digits)
            return 0;
    }
    return i;
}

/*
 * The value of such a number. Up to 15 digits, scaled by a power of ten up to 22, are exact in one division (Clinger
 * 1990); strtod, ten times as slow, does the rest. It stops at what is no number: the body ends with a zero byte.
 */
static double number_value(const char *text, size_t length)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    bool is_negative = text[0] == '-', after_point = false;
    int n_digits = 0, n_decimals = 0;
    uint64_t digits = 0;

    for (size_t i = is_negative; i < length; i++) {
        if (text[i] == '.') {
            after_point = true;
            continue;
        }
        if (text[i] == 'e' || text[i] == 'E' || (digits && ++n_digits > 14))
            return strtod(text, NULL);
        digits = digits * 10 + (uint64_t)(text[i] - '0');
        n_decimals += after_point;
    }
    if (n_decimals > 22)
        return strtod(text, NULL);
    return (is_negative ? -1.0 : 1.0) * ((double)digits / powers[n_decimals]);
}

/* One number into element i. */
static enum qd_status read_number(const char *text, size_t size, enum qd_input_form form, int64_t i, void *ret,
                                  size_t *ret_length, struct qd_error *err)
{
    size_t length = number_length(text, size);
    double value;

    if (!length)
        return qd_error_set(err, QD_INVALID, "data: element %lld: expected a number, found '%.*s'", (long long)i,
                            (int)(size < 12 ? size : 12), text);
    value = number_value(text, length);
    if (form == QD_INPUT_PIXELS && !(value >= 0 && value <= 255 && value == floor(value)))
        return qd_error_set(err, QD_INVALID, "data: element %lld: expected a whole number from 0 to 255, found %.9g",
                            (long long)i, value);
    if (form == QD_INPUT_PIXELS)
        ((uint8_t *)ret)[i] = (uint8_t)value;
    else
        ((float *)ret)[i] = (float)value;
    *ret_length = length;
    return QD_OK;
}

enum qd_status qd_v2_read_numbers(const struct qd_v2_span *span, enum qd_input_form form, int64_t count, void *ret,
                                  struct qd_error *err)
{
    bool wants_value = true; /* else a comma or a bracket that closes */
    bool just_opened = false;
    int64_t n = 0;
    int depth = 0;

    for (size_t at = 0; at < span->size;) {
        char c = span->text[at];
        size_t length = 1;

        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            at++;
            continue;
        }
        if (c == ']' && (!wants_value || just_opened)) {
            depth--;
            wants_value = false;
        } else if (c == ',' && !wants_value) {
            wants_value = true;
        } else if (c == '[' && wants_value) {
            if (++depth > MAX_NESTING)
                return qd_error_set(err, QD_INVALID, "data: expected at most %d levels of brackets", MAX_NESTING);
        } else if (wants_value && c != ',' && c != ']') {
            enum qd_status status;

            if (n == count)
                return qd_error_set(err, QD_INVALID, "data: expected %lld elements, found more", (long long)count);
            status = read_number(span->text + at, span->size - at, form, n++, ret, &length, err);
            if (status != QD_OK)
                return status;
            wants_value = false;
        } else {
            return qd_error_set(err, QD_INVALID, "data: after %lld elements: '%c' is out of place", (long long)n, c);
        }
        just_opened = c == '[';
        at += length;
    }
    if (n != count)
        return qd_error_set(err, QD_INVALID, "data: expected %lld elements, found %lld", (long long)count, (long long)n);
    return QD_OK;
}
