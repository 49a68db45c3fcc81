/* The "preprocess" of a model.json: how a picture becomes the network's input. */
#include <math.h>

#include "serve/model_keys.h"

static enum qd_status read_color(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const char *const names[] = {"rgb", "bgr", "gray"};
    int i = 0;
    enum qd_status status = qd_key_choice(value, names, 3, &i, err);

    c->preprocess.color = (enum qd_color)i;
    return status;
}

static enum qd_status read_resize(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const char *const names[] = {"shorter_side", "stretch", "letterbox"};
    int i = 0;
    enum qd_status status = qd_key_choice(value, names, 3, &i, err);

    c->preprocess.resize = (enum qd_resize_mode)i;
    return status;
}

static enum qd_status read_interpolation(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const char *const names[] = {"bilinear", "bicubic", "nearest"};
    int i = 0;
    enum qd_status status = qd_key_choice(value, names, 3, &i, err);

    c->preprocess.interpolation = (enum qd_interpolation)i;
    return status;
}

static enum qd_status read_anchor(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const char *const names[] = {"center", "top_left"};
    int i = 0;
    enum qd_status status = qd_key_choice(value, names, 2, &i, err);

    c->preprocess.anchor = (enum qd_anchor)i;
    return status;
}

static enum qd_status read_decode(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const char *const names[] = {"full", "scaled"};
    int i = 0;
    enum qd_status status = qd_key_choice(value, names, 2, &i, err);

    c->preprocess.decode = (enum qd_decode)i;
    return status;
}

/* One number for both, or [h, w]. */
static enum qd_status read_sides(const json_t *value, int *ret_h, int *ret_w, struct qd_error *err)
{
    const json_t *h = json_is_array(value) ? json_array_get(value, 0) : value;
    const json_t *w = json_is_array(value) ? json_array_get(value, 1) : value;
    double number = 0;
    enum qd_status status;

    if (json_is_array(value) && json_array_size(value) != 2)
        return qd_error_set(err, QD_INVALID, "expected a number or [h, w], found %zu values", json_array_size(value));
    status = qd_key_number(h, 1, 16384, &number, err);
    *ret_h = (int)number;
    if (status == QD_OK)
        status = qd_key_number(w, 1, 16384, &number, err);
    *ret_w = (int)number;
    return status;
}

static enum qd_status read_size(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_sides(value, &c->preprocess.size_h, &c->preprocess.size_w, err);
}

static enum qd_status read_crop(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    c->has_crop = true;
    return read_sides(value, &c->preprocess.crop_h, &c->preprocess.crop_w, err);
}

static enum qd_status read_scale(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    double number = 1;
    enum qd_status status = qd_key_number(value, 1e-9, 1e9, &number, err);

    c->preprocess.scale = (float)number;
    return status;
}

static enum qd_status read_channels(const json_t *value, double low, float ret[3], struct qd_error *err)
{
    size_t n = json_array_size(value);

    if (!json_is_array(value) || (n != 1 && n != 3))
        return qd_error_set(err, QD_INVALID, "expected an array of 1 or 3 numbers");
    for (size_t i = 0; i < 3; i++) {
        double number = 0;
        enum qd_status status = qd_key_number(json_array_get(value, n == 1 ? 0 : i), low, 1e9, &number, err);

        if (status != QD_OK)
            return status;
        ret[i] = (float)number;
    }
    return QD_OK;
}

static enum qd_status read_mean(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_channels(value, -1e9, c->preprocess.mean, err);
}

static enum qd_status read_std(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    return read_channels(value, 1e-9, c->preprocess.std, err);
}

static enum qd_status read_pad_value(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    double number = 0;
    enum qd_status status = qd_key_number(value, 0, 255, &number, err);

    c->preprocess.pad_value = (int)number;
    return status;
}

enum qd_status qd_key_preprocess(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    static const struct qd_key keys[] = {
        {"color", read_color},
        {"resize", read_resize},
        {"size", read_size},
        {"crop", read_crop},
        {"interpolation", read_interpolation},
        {"scale", read_scale},
        {"mean", read_mean},
        {"std", read_std},
        {"pad_value", read_pad_value},
        {"anchor", read_anchor},
        {"decode", read_decode},
    };

    c->has_preprocess = true;
    return qd_keys_read(c, value, keys, QD_ARRAY_SIZE(keys), err);
}
