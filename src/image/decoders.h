/* The image formats: each decoder is a file and a row of qd_decoders[] in decode.c. */
#ifndef QD_IMAGE_DECODERS_H
#define QD_IMAGE_DECODERS_H

#include "image/image.h"

struct qd_decoder {
    const char *name;
    bool (*matches)(const uint8_t *bytes, size_t size);
    enum qd_status (*decode)(const uint8_t *bytes, size_t size, int n_channels, const struct qd_image_limits *limits,
                             struct qd_image *ret, struct qd_error *err);
};

extern const struct qd_decoder qd_decoder_jpeg, qd_decoder_png;

/* Checks a header's size against the limits, then allocates the pixels. */
enum qd_status qd_image_alloc(int64_t width, int64_t height, int n_channels, const struct qd_image_limits *limits,
                              struct qd_image *ret, struct qd_error *err);

/* RGB to grey in place: ITU-R 601 in 16-bit fixed point, Pillow's L. */
void qd_image_to_grey(struct qd_image *image);

/* The EXIF orientation (1 to 8) of a JPEG; 1 where there is none or it is broken. */
int qd_exif_orientation(const uint8_t *bytes, size_t size);

/* Turns the image so that it stands as EXIF's orientation says. */
enum qd_status qd_image_orient(struct qd_image *image, int orientation, struct qd_error *err);

#endif
