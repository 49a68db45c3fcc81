/* model.json is read by tables of keys: what the parts of its reader share. Errors say what was expected and found. */
#ifndef QD_SERVE_MODEL_KEYS_H
#define QD_SERVE_MODEL_KEYS_H

#include <jansson.h>

#include "serve/model_config.h"

/* One key of an object: its name and who reads it. */
struct qd_key {
    const char *name;
    enum qd_status (*read)(struct qd_model_config *config, const json_t *value, struct qd_error *err);
};

/* Each key by its reader. QD_INVALID: no object, or an unknown key; the nearest known one is named. */
enum qd_status qd_keys_read(struct qd_model_config *config, const json_t *object, const struct qd_key *keys,
                            size_t n_keys, struct qd_error *err);

/* "expected WHAT, found a string": QD_INVALID. */
enum qd_status qd_key_expected(const char *what, const json_t *value, struct qd_error *err);
enum qd_status qd_key_number(const json_t *value, double low, double high, double *ret, struct qd_error *err);
/* The index of the value among names. */
enum qd_status qd_key_choice(const json_t *value, const char *const *names, size_t n, int *ret, struct qd_error *err);

/* The value of "preprocess". */
enum qd_status qd_key_preprocess(struct qd_model_config *config, const json_t *value, struct qd_error *err);

#endif
