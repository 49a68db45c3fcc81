/*
 * From an encoded picture to the bytes that a network reads: decode, orient, resize, crop. And image sets.
 *
 * One definition (struct qd_preprocess) serves calibration, evaluation and inference. Everything here is reentrant;
 * nothing is shared but const tables.
 */
#ifndef QD_IMAGE_IMAGE_H
#define QD_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/hash.h"
#include "util/status.h"

/* Pixels, rows from top to bottom without gaps, n_channels bytes each: 1 grey or 3 RGB. */
struct qd_image {
    uint8_t *pixels; /* height * width * n_channels */
    int width, height, n_channels;
};

struct qd_image_limits {
    int64_t max_pixels; /* width * height, checked on the header, before anything is allocated */
};

void qd_image_done(struct qd_image *image);

/*
 * Decodes JPEG or PNG (recognised by content) into n_channels (1 or 3; grey is replicated, colour goes to grey by
 * ITU-R 601 as Pillow's convert("L"); alpha is dropped, 16 bits become 8) and applies the EXIF orientation.
 * QD_UNSUPPORTED: not one of the formats (the text names what the bytes look like), or a CMYK or YCCK JPEG.
 * QD_INVALID: empty, broken or truncated. QD_TOO_LARGE: more pixels than the limit.
 */
enum qd_status qd_image_decode(const void *bytes, size_t size, int n_channels, const struct qd_image_limits *limits,
                               struct qd_image *ret, struct qd_error *err);

enum qd_interpolation { QD_BILINEAR, QD_BICUBIC, QD_NEAREST };

/*
 * Pillow's Image.resize (antialiased bilinear and bicubic, 8-bit fixed-point arithmetic in two passes; nearest),
 * restricted to the output window [crop_x, crop_x + crop_w) x [crop_y, ...) of the full width x height result.
 */
struct qd_resize {
    int width, height; /* of the whole resized picture */
    int crop_x, crop_y, crop_w, crop_h;
    enum qd_interpolation interpolation;
};
enum qd_status qd_image_resize(const struct qd_image *in, const struct qd_resize *resize, struct qd_image *ret,
                               struct qd_error *err);

enum qd_color { QD_RGB, QD_BGR, QD_GRAY };
enum qd_resize_mode { QD_SHORTER_SIDE, QD_STRETCH, QD_LETTERBOX };
enum qd_anchor { QD_CENTER, QD_TOP_LEFT };
enum qd_decode { QD_DECODE_FULL, QD_DECODE_SCALED };

/* How a picture becomes a network's input: value = (pixel * scale - mean) / std, channels in the model's order. */
struct qd_preprocess {
    enum qd_color color;
    enum qd_resize_mode resize;
    int size_h, size_w; /* shorter_side: size_h is the side's length, size_w equals it */
    int crop_h, crop_w; /* what the network reads; equal to the size where nothing is cropped */
    enum qd_interpolation interpolation;
    float scale;
    float mean[3], std[3]; /* in the model's channel order */
    int pad_value;         /* of a letterbox */
    enum qd_anchor anchor; /* of crop and letterbox */
    enum qd_decode decode;
};

int qd_preprocess_channels(const struct qd_preprocess *preprocess); /* 1 or 3 */
size_t qd_preprocess_bytes(const struct qd_preprocess *preprocess); /* crop_h * crop_w * channels */

/*
 * Decodes, resizes and crops one encoded picture into out: crop_h x crop_w x channels bytes, NHWC, channels in the
 * model's order. (Scale, mean and std are not applied here: the network's first layer holds them.)
 * shorter_side: the shorter side becomes size, the longer int(size * longer / shorter) as torchvision's Resize; the
 * crop's origin is int(round((h - crop_h) / 2.0)) as torchvision's CenterCrop (a picture smaller than the crop is
 * padded with pad_value).
 * decode scaled: a JPEG is decoded to the half, quarter or eighth of its size that is the smallest with no side below
 * the resized picture's, and resized from there; full: from every pixel. What is cropped away is not decoded in either.
 */
enum qd_status qd_preprocess_run(const struct qd_preprocess *preprocess, const void *bytes, size_t size,
                                 const struct qd_image_limits *limits, uint8_t *out, struct qd_error *err);

/* One line per field, fixed order: part of a scale cache's key. */
void qd_preprocess_hash(const struct qd_preprocess *preprocess, struct qd_hasher *hasher);

/* One picture of a set. */
struct qd_image_file {
    char *path;
    struct qd_hash hash; /* of the file's content */
    int label;           /* class index, or -1 */
};

/* A folder of pictures in a fixed order: by content hash, duplicates (same content) dropped. */
struct qd_image_set {
    struct qd_image_file *files;
    size_t n_files;
    size_t n_duplicates;
};

/*
 * Lists *.jpg, *.jpeg, *.png (any case; not recursive, no dot files) of a folder, hashes each and sorts by hash.
 * labels_path NULL, or a file of lines "name TAB class index"; with it only labelled files are listed, and a line
 * that names a missing file or is not such a line is an error with its number.
 * limit 0: all; else the first limit files in hash order. QD_NOT_FOUND: no such folder; QD_INVALID: no picture in it.
 */
enum qd_status qd_image_set_load(const char *folder, const char *labels_path, size_t limit, struct qd_image_set *ret,
                                 struct qd_error *err);

/* Whether any file of the folder has a picture's name; false where there is no folder to look into. */
bool qd_holds_pictures(const char *folder);
void qd_image_set_done(struct qd_image_set *set);

#endif
