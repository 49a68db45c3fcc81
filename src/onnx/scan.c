#include "onnx/internal.h"

/* What a field of a message means to the scan. */
enum scan_action { SCAN_ENTER, SCAN_REFUSE };

struct scan_rule {
    uint32_t field;
    enum scan_action action;
    int message;      /* ENTER: index into messages */
    const char *what; /* REFUSE */
};

enum { MODEL, GRAPH, NODE, ATTRIBUTE, VALUE_INFO, TYPE, N_MESSAGES };

/* The field numbers are onnx.proto's. Messages that are not entered nest to a fixed depth. */
static const struct scan_rule messages[N_MESSAGES][8] = {
    [MODEL] = {{7, SCAN_ENTER, GRAPH, NULL},
               {20, SCAN_REFUSE, 0, "training information"},
               {25, SCAN_REFUSE, 0, "model-local functions"}},
    [GRAPH] = {{1, SCAN_ENTER, NODE, NULL},
               {11, SCAN_ENTER, VALUE_INFO, NULL},
               {12, SCAN_ENTER, VALUE_INFO, NULL},
               {13, SCAN_ENTER, VALUE_INFO, NULL}},
    [NODE] = {{5, SCAN_ENTER, ATTRIBUTE, NULL}},
    [ATTRIBUTE] = {{6, SCAN_REFUSE, 0, "a subgraph (If, Loop, Scan)"},
                   {11, SCAN_REFUSE, 0, "subgraphs"},
                   {14, SCAN_REFUSE, 0, "a type attribute"},
                   {15, SCAN_REFUSE, 0, "type attributes"}},
    [VALUE_INFO] = {{2, SCAN_ENTER, TYPE, NULL}},
    [TYPE] = {{4, SCAN_REFUSE, 0, "a sequence type"},
              {5, SCAN_REFUSE, 0, "a map type"},
              {9, SCAN_REFUSE, 0, "an optional type"}},
};

struct level {
    int message;
    size_t end;
};

/* A base-128 number; false when it is cut or longer than ten bytes. */
static bool read_varint(const uint8_t *bytes, size_t end, size_t *at, uint64_t *ret)
{
    uint64_t value = 0;

    for (int shift = 0; shift < 70 && *at < end; shift += 7) {
        uint8_t byte = bytes[(*at)++];

        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static const struct scan_rule *find_rule(int message, uint64_t field)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(messages[message]); i++)
        if (messages[message][i].field == field && field)
            return &messages[message][i];
    return NULL;
}

static enum qd_status broken(size_t at, struct qd_error *err)
{
    return qd_error_set(err, QD_INVALID, "not an ONNX file, or a truncated one: no valid field at byte %zu", at);
}

/* Steps over a field's value; *ret_size is its length where it is a message or bytes. */
static bool skip_value(const uint8_t *bytes, size_t end, unsigned wire_type, size_t *at, uint64_t *ret_size)
{
    uint64_t ignored;

    *ret_size = 0;
    switch (wire_type) {
    case 0:
        return read_varint(bytes, end, at, &ignored);
    case 1:
    case 5:
        ignored = wire_type == 1 ? 8 : 4;
        if (end - *at < ignored)
            return false;
        *at += ignored;
        return true;
    case 2:
        return read_varint(bytes, end, at, ret_size) && *ret_size <= end - *at;
    default:
        return false;
    }
}

enum qd_status qd_onnx_scan(const uint8_t *bytes, size_t size, struct qd_error *err)
{
    struct level levels[N_MESSAGES + 1] = {{MODEL, size}};
    int depth = 0;
    size_t at = 0;

    while (depth >= 0) {
        const struct scan_rule *rule;
        size_t start = at, end = levels[depth].end;
        uint64_t tag, length;

        if (at == end) {
            depth--;
            continue;
        }
        if (!read_varint(bytes, end, &at, &tag) || !skip_value(bytes, end, tag & 7, &at, &length))
            return broken(start, err);
        rule = (tag & 7) == 2 ? find_rule(levels[depth].message, tag >> 3) : NULL;
        if (rule && rule->action == SCAN_REFUSE)
            return qd_error_set(err, QD_UNSUPPORTED, "the model holds %s, which quantd does not run", rule->what);
        if (rule) {
            depth++;
            levels[depth].message = rule->message;
            levels[depth].end = at + length;
        } else {
            at += length;
        }
    }
    return QD_OK;
}
