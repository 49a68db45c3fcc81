/* The "preprocess" of a model.json, and what stands in for it: how a picture becomes the network's input. */
#include <stdio.h>
#include <string.h>

#include "serve/model_keys.h"

/* In the order of their enums. */
static const char *const color_names[] = {"rgb", "bgr", "gray"};
static const char *const resize_names[] = {"shorter_side", "stretch", "letterbox"};
static const char *const interpolation_names[] = {"bilinear", "bicubic", "nearest"};
static const char *const anchor_names[] = {"center", "top_left"};
static const char *const decode_names[] = {"full", "scaled"};

static enum qd_status read_color(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    int i = 0;
    enum qd_status status = qd_key_choice(value, color_names, QD_ARRAY_SIZE(color_names), &i, err);

    c->preprocess.color = (enum qd_color)i;
    return status;
}

static enum qd_status read_resize(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    int i = 0;
    enum qd_status status = qd_key_choice(value, resize_names, QD_ARRAY_SIZE(resize_names), &i, err);

    c->preprocess.resize = (enum qd_resize_mode)i;
    return status;
}

static enum qd_status read_interpolation(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    int i = 0;
    enum qd_status status = qd_key_choice(value, interpolation_names, QD_ARRAY_SIZE(interpolation_names), &i, err);

    c->preprocess.interpolation = (enum qd_interpolation)i;
    return status;
}

static enum qd_status read_anchor(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    int i = 0;
    enum qd_status status = qd_key_choice(value, anchor_names, QD_ARRAY_SIZE(anchor_names), &i, err);

    c->preprocess.anchor = (enum qd_anchor)i;
    return status;
}

static enum qd_status read_decode(struct qd_model_config *c, const json_t *value, struct qd_error *err)
{
    int i = 0;
    enum qd_status status = qd_key_choice(value, decode_names, QD_ARRAY_SIZE(decode_names), &i, err);

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

/* For a network that says nothing: ImageNet's pictures, as torchvision prepares them. */
static void use_imagenet(struct qd_model_config *c, int64_t channels, int64_t h, int64_t w)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    struct qd_preprocess *p = &c->preprocess;

    p->color = channels == 1 ? QD_GRAY : QD_RGB;
    p->resize = h == w && h >= 64 ? QD_SHORTER_SIDE : QD_STRETCH;
    p->size_h = p->resize == QD_SHORTER_SIDE ? (int)((h * 256 + 112) / 224) : (int)h;
    p->size_w = p->resize == QD_SHORTER_SIDE ? p->size_h : (int)w;
    p->scale = 1.0f / 255;
    memcpy(p->mean, mean, sizeof(mean));
    memcpy(p->std, std, sizeof(std));
}

/* A network that takes bytes: whatever is done to the pixels' values, it does itself. */
static enum qd_status use_bytes(struct qd_model_config *config, struct qd_error *err)
{
    struct qd_preprocess *p = &config->preprocess;
    bool is_same = p->scale == 1;

    for (int i = 0; i < 3; i++)
        is_same &= p->mean[i] == 0 && p->std[i] == 1;
    if (config->has_preprocess && !is_same)
        return qd_error_set(err, QD_INVALID, "preprocess: the network's input is uint8 and takes pixels as they are, so "
                                             "expected scale 1, mean [0], std [1]");
    p->scale = 1;
    for (int i = 0; i < 3; i++) {
        p->mean[i] = 0;
        p->std[i] = 1;
    }
    return QD_OK;
}

enum qd_status qd_model_config_resolve(struct qd_model_config *config, int64_t c, int64_t h, int64_t w,
                                       bool takes_bytes, struct qd_error *err)
{
    struct qd_preprocess *p = &config->preprocess;

    if (!config->has_preprocess)
        use_imagenet(config, c, h, w);
    if (takes_bytes && use_bytes(config, err) != QD_OK)
        return QD_INVALID;
    if (c == 1 && config->has_preprocess && p->color != QD_GRAY)
        return qd_error_set(err, QD_INVALID, "preprocess.color: the network reads 1 channel, so expected gray");
    if (c == 3 && p->color == QD_GRAY)
        return qd_error_set(err, QD_INVALID, "preprocess.color: the network reads 3 channels, so expected rgb or bgr");
    if (!config->has_crop) {
        p->crop_h = (int)h;
        p->crop_w = (int)w;
    }
    if (!p->size_h) {
        p->size_h = (int)h;
        p->size_w = (int)w;
    }
    if (p->crop_h != h || p->crop_w != w)
        return qd_error_set(err, QD_INVALID, "preprocess.crop: the network reads %lld x %lld, found [%d, %d]",
                            (long long)h, (long long)w, p->crop_h, p->crop_w);
    return QD_OK;
}

void qd_preprocess_text(const struct qd_preprocess *p, char ret[QD_PREPROCESS_TEXT_SIZE])
{
    const char *resize = p->resize == QD_STRETCH        ? "stretched to"
                         : p->resize == QD_SHORTER_SIDE ? "shorter side"
                                                        : "letterbox";
    char size[32];

    snprintf(size, sizeof(size), p->resize == QD_SHORTER_SIDE ? "%d" : "%d x %d", p->size_h, p->size_w);
    snprintf(ret, QD_PREPROCESS_TEXT_SIZE,
             "%s, %s %s, crop %d x %d, (pixel * %.6g - [%.4g, %.4g, %.4g]) / [%.4g, %.4g, %.4g]",
             color_names[p->color], resize, size, p->crop_h, p->crop_w, (double)p->scale, (double)p->mean[0],
             (double)p->mean[1], (double)p->mean[2], (double)p->std[0], (double)p->std[1], (double)p->std[2]);
}

/* [one, two, three] */
static json_t *by_channel(const float values[3])
{
    return json_pack("[f, f, f]", (double)values[0], (double)values[1], (double)values[2]);
}

json_t *qd_preprocess_to_json(const struct qd_preprocess *p)
{
    return json_pack("{s:s, s:s, s:[i,i], s:[i,i], s:s, s:f, s:o, s:o, s:i, s:s, s:s}", "color", color_names[p->color],
                     "resize", resize_names[p->resize], "size", p->size_h, p->size_w, "crop", p->crop_h, p->crop_w,
                     "interpolation", interpolation_names[p->interpolation], "scale", (double)p->scale, "mean",
                     by_channel(p->mean), "std", by_channel(p->std), "pad_value", p->pad_value, "anchor",
                     anchor_names[p->anchor], "decode", decode_names[p->decode]);
}
