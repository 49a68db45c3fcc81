#include <string.h>

#include "http/internal.h"

/* jansson recurses, up to 2048 levels; and an element of two bytes takes it 32 bytes and more. */
#define MAX_DEPTH 32
#define MAX_ELEMENTS 100000

/* Before a recursive parser sees the text: brackets and commas outside strings. */
static enum qd_status check_size(const uint8_t *text, size_t size, struct qd_error *err)
{
    bool in_string = false;
    int depth = 0, n_elements = 0;

    for (size_t i = 0; i < size; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (in_string)
            continue;
        else if ((text[i] == '[' || text[i] == '{') && ++depth > MAX_DEPTH)
            return qd_error_set(err, QD_INVALID, "JSON: expected at most %d levels, found more", MAX_DEPTH);
        else if (text[i] == ']' || text[i] == '}')
            depth--;
        else if (text[i] == ',' && ++n_elements > MAX_ELEMENTS)
            return qd_error_set(err, QD_INVALID, "JSON: expected at most %d elements, found more", MAX_ELEMENTS);
    }
    return QD_OK;
}

enum qd_status qd_json_read(const void *text, size_t size, json_t **ret, struct qd_error *err)
{
    json_error_t where;
    enum qd_status status = check_size(text, size, err);

    if (status != QD_OK)
        return status;
    *ret = json_loadb(size ? text : "", size, JSON_REJECT_DUPLICATES, &where);
    return *ret ? QD_OK
                : qd_error_set(err, QD_INVALID, "JSON, line %d, column %d: %.150s", where.line, where.column, where.text);
}
