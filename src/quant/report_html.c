/* The layer report as a page: the template with the JSON in it. */
#include <stdlib.h>
#include <string.h>

#include "quant/report.h"

/* Made from report.html: its text as a string literal. */
static const char page[] =
#include "quant/report.html.h"
    ;
static const char place[] = "@REPORT@";

/* Inside <script> only these could end it or begin something else; in JSON they occur in strings alone. */
static enum qd_status append_json(struct qd_buf *buf, const char *text, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    while (*text && status == QD_OK) {
        size_t n = strcspn(text, "<>&");

        status = qd_buf_append(buf, text, n, err);
        text += n;
        if (*text && status == QD_OK)
            status = qd_buf_printf(buf, err, "\\u%04x", (unsigned)*text++);
    }
    return status;
}

enum qd_status qd_report_to_html(const struct qd_report *report, struct qd_buf *buf, struct qd_error *err)
{
    const char *at = strstr(page, place);
    json_t *json = qd_report_to_json(report);
    char *text;
    enum qd_status status;

    /* The layers have what the page shows of these. */
    json_object_del(json, "tensors");
    json_object_del(json, "layer_weights");
    text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(json);
    if (!text)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a report");
    status = qd_buf_append(buf, page, (size_t)(at - page), err);
    if (status == QD_OK)
        status = append_json(buf, text, err);
    if (status == QD_OK)
        status = qd_buf_append(buf, at + strlen(place), strlen(at + strlen(place)), err);
    free(text);
    return status;
}
