#include "serve/model_keys.h"

#include <stdio.h>
#include <string.h>

#include "util/name.h"

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};

    return names[json_typeof(value)];
}

enum qd_status qd_key_expected(const char *what, const json_t *value, struct qd_error *err)
{
    return qd_error_set(err, QD_INVALID, "expected %s, found %s", what, type_name(value));
}

enum qd_status qd_keys_read(struct qd_model_config *config, const json_t *object, const struct qd_key *keys,
                                  size_t n_keys, struct qd_error *err)
{
    const char *name, *names[16], *nearest;
    json_t *value;

    if (!json_is_object(object))
        return qd_key_expected("an object", object, err);
    for (size_t i = 0; i < n_keys; i++)
        names[i] = keys[i].name;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        enum qd_status status = QD_OK;
        size_t i = 0;

        while (i < n_keys && strcmp(keys[i].name, name) != 0)
            i++;
        if (i == n_keys) {
            nearest = qd_nearest_name(name, names, n_keys);
            return qd_error_set(err, QD_INVALID, "unknown key '%.60s'%s%s%s", name, nearest ? "; did you mean '" : "",
                                nearest ? nearest : "", nearest ? "'?" : "");
        }
        status = keys[i].read(config, value, err);
        if (status != QD_OK)
            return qd_error_context(err, status, "%s", name);
    }
    return QD_OK;
}

enum qd_status qd_key_number(const json_t *value, double low, double high, double *ret, struct qd_error *err)
{
    if (!json_is_number(value))
        return qd_key_expected("a number", value, err);
    if (!(json_number_value(value) >= low && json_number_value(value) <= high))
        return qd_error_set(err, QD_INVALID, "expected %g to %g, found %g", low, high, json_number_value(value));
    *ret = json_number_value(value);
    return QD_OK;
}

enum qd_status qd_key_choice(const json_t *value, const char *const *names, size_t n, int *ret,
                                  struct qd_error *err)
{
    const char *text = json_string_value(value);
    char list[128] = "";

    for (size_t i = 0; text && i < n; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = (int)i;
            return QD_OK;
        }
    }
    for (size_t i = 0; i < n; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "", names[i]);
    return qd_error_set(err, QD_INVALID, "expected one of %s, found '%.40s'", list, text ? text : type_name(value));
}
