/* What the files of src/image share: decoders, EXIF, and the inner loops of the resize. */
#ifndef QD_IMAGE_INTERNAL_H
#define QD_IMAGE_INTERNAL_H

#include "image/image.h"

/* A rectangle of pixels. */
struct qd_rect {
    int x, y, width, height;
};

/* Which part of a picture is decoded, and how large. Where all is, window is the whole picture. */
struct qd_image_part {
    int width, height; /* of the whole picture as it is stored */
    int orientation;   /* EXIF's, 1 to 8: not yet applied */
    int eighths;       /* 8, 4, 2 or 1: the whole picture is decoded to width * eighths / 8 by height * eighths / 8 */
    struct qd_rect window; /* of the picture at that size: the pixels that there are */
};

/* Says, once a picture's header is known, which part of it will be read: changes eighths and window. */
struct qd_part_chooser {
    void (*choose)(const void *context, struct qd_image_part *part);
    const void *context;
};

/* One picture format. A new one is a file decode_NAME.c and a row in qd_decoders[] (image.c). */
struct qd_decoder {
    const char *name;
    bool (*sniff)(const uint8_t *bytes, size_t size); /* by the first bytes */

    /*
     * Decodes into 1 channel (grey) or 3 (RGB), whichever the file holds. Calls qd_image_check_size on the header,
     * before it allocates. chooser (or NULL: all is wanted) may be ignored; more than the window may be decoded, and
     * *ret_part says what is; those pixels are the same bytes as the whole picture's at that size. Broken or missing
     * data outside of the window are errors all the same. Both outputs are untouched on failure.
     */
    enum qd_status (*decode)(const uint8_t *bytes, size_t size, const struct qd_image_limits *limits,
                             const struct qd_part_chooser *chooser, struct qd_image *ret,
                             struct qd_image_part *ret_part, struct qd_error *err);
};

extern const struct qd_decoder qd_decoder_jpeg, qd_decoder_png;

/* All of a picture of width x height, at that many eighths. */
struct qd_image_part qd_image_whole(int width, int height, int orientation, int eighths);

/* qd_image_decode of the part that chooser asks for. The image is upright; *ret_part is as the picture is stored. */
enum qd_status qd_image_decode_part(const void *bytes, size_t size, int n_channels,
                                    const struct qd_image_limits *limits, const struct qd_part_chooser *chooser,
                                    struct qd_image *ret, struct qd_image_part *ret_part, struct qd_error *err);

/* Where unknown bytes get their name: "a GIF picture", "HTML", "nothing (0 bytes)", ... in text. */
#define QD_LOOKS_TEXT_SIZE 96
const char *qd_looks_like(const uint8_t *bytes, size_t size, char text[QD_LOOKS_TEXT_SIZE]);

/* QD_INVALID for a side of 0, QD_TOO_LARGE past the limit. */
enum qd_status qd_image_check_size(int64_t width, int64_t height, const struct qd_image_limits *limits,
                                   struct qd_error *err);

/* Pixels for a picture of that size; *ret is untouched on failure. */
enum qd_status qd_image_alloc(int width, int height, int n_channels, struct qd_image *ret, struct qd_error *err);

/*
 * The orientation, 1 to 8, that an EXIF block (from its byte order mark on) states; 1 where it states none or is
 * broken: a camera's mistake in the metadata must not refuse a good picture.
 */
int qd_exif_orientation(const uint8_t *tiff, size_t size);

/* Turns the picture upright, as Pillow's ImageOps.exif_transpose. */
enum qd_status qd_image_orient(struct qd_image *image, int orientation, struct qd_error *err);

/* For each output position: which inputs it reads, and their weights in fixed point. */
struct qd_resample_taps {
    int n_outputs;
    int stride;       /* weights per output, the largest n_inputs */
    int *first;       /* n_outputs: the first input read */
    int *n_inputs;    /* n_outputs: how many are read, at least 1 */
    int32_t *weights; /* n_outputs x stride, QD_RESAMPLE_BITS bits after the point */

    /* of an across() that asks for them (uses_pairs), or NULL */
    int n_columns;  /* of the rows that are read */
    int n_pairs;    /* of inputs: (stride + 1) / 2 */
    int16_t *pairs; /* per two outputs and pair of inputs: QD_RESAMPLE_PAIR words, see resample_avx2.c */
};

#define QD_RESAMPLE_PAIR 32

#define QD_RESAMPLE_BITS 22

/*
 * The two passes. All tiers give the same bytes (the arithmetic is in integers); the faster one only lets the
 * compiler use wider vectors.
 */
struct qd_resample_tier {
    const char *name;
    bool uses_pairs;

    /* One row: out[x] = sum of taps->weights[x][i] * in[taps->first[x] + i], per channel (1 or 3). */
    void (*across)(const uint8_t *in, uint8_t *out, int n_channels, const struct qd_resample_taps *taps);

    /* One row: out[x] = sum of weights[i] * in[i * row_size + x], x in [0, row_size). */
    void (*down)(const uint8_t *in, uint8_t *out, size_t row_size, const int32_t *weights, int n_inputs);
};

extern const struct qd_resample_tier qd_resample_scalar, qd_resample_avx2;

/* As qd_image_resize, by the named tier: for tests. */
enum qd_status qd_image_resize_by(const struct qd_resample_tier *tier, const struct qd_image *in,
                                  const struct qd_resize *resize, struct qd_image *ret, struct qd_error *err);

/*
 * What is resized: the whole picture of width x height pixels, of which the pixels from (x, y) on are there. A picture
 * that was made smaller may end within its last pixels; turned around, it begins at (left, top) within the first.
 */
struct qd_resize_from {
    double width, height, left, top;
    int x, y;
};

/* The pixels of that picture which the resize reads, in its own coordinates; x and y of from do not count. */
struct qd_rect qd_resize_reads(const struct qd_resize *resize, const struct qd_resize_from *from);

/* As qd_image_resize, of a picture that holds at least what qd_resize_reads says, to rows that lie out_stride bytes
 * apart. */
enum qd_status qd_image_resize_part(const struct qd_image *in, const struct qd_resize_from *from,
                                    const struct qd_resize *resize, uint8_t *out, size_t out_stride,
                                    struct qd_error *err);

#endif
