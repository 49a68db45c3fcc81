#include "config.h"

#include <stdio.h>
#include <string.h>

#include "image/image.h"
#include "image/internal.h"
#include "tests/unit/unit.h"
#include "util/file.h"
#include "util/mem.h"

static const struct qd_image_limits limits = {.max_pixels = 50000000};

static struct qd_buf read_picture(const char *name)
{
    const char *src = getenv("QD_SRC");
    char path[512];
    struct qd_error err = {""};
    struct qd_buf buf;

    snprintf(path, sizeof(path), "%s/tests/data/images/%s", src ? src : ".", name);
    ck_assert_ok(qd_file_read(path, 1 << 20, &buf, &err), &err);
    return buf;
}

static struct qd_image decode_picture(const char *name, int n_channels)
{
    struct qd_buf buf = read_picture(name);
    struct qd_error err = {""};
    struct qd_image image;

    ck_assert_ok(qd_image_decode(buf.bytes, buf.size, n_channels, &limits, &image, &err), &err);
    qd_buf_done(&buf);
    return image;
}

/* Refused with that status, that text, and no output touched. */
static void assert_refused(const void *bytes, size_t size, enum qd_status status, const char *text)
{
    struct qd_image image = {.width = -7};
    struct qd_error err = {""};

    ck_assert_str_eq(qd_status_name(qd_image_decode(bytes, size, 3, &limits, &image, &err)), qd_status_name(status));
    ck_assert_msg(strstr(err.text, text) != NULL, "expected '%s' in '%s'", text, err.text);
    ck_assert_int_eq(image.width, -7);
    ck_assert_ptr_null(image.pixels);
}

START_TEST(test_unknown_content_is_named)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *looks;
    } rows[] = {
        {"GIF89a", 6, "a GIF picture"},
        {"RIFF\1\2\3\4WEBPVP8 ", 16, "a WebP picture"},
        {"BM123456", 8, "a BMP picture"},
        {"II*\0\10\0\0\0", 8, "a TIFF picture"},
        {"\0\0\0\30ftypheic", 12, "a HEIC picture"},
        {"\0\0\0\30ftypavif", 12, "an AVIF picture"},
        {"%PDF-1.4", 8, "a PDF document"},
        {" \n<!DOCTYPE HTML>", 17, "HTML"},
        {"{\"a\": 1}", 8, "JSON"},
        {"<svg xmlns=", 11, "an SVG picture"},
        {"/9j/4AAQ", 8, "a JPEG picture in base64"},
        {"hello there", 11, "text that begins 'hello there'"},
        {"\xff\xd8", 2, "2 bytes that begin ff d8"},
        {"\1\2\3", 3, "3 bytes that begin 01 02 03"},
    };

    for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++)
        assert_refused(rows[i].bytes, rows[i].size, QD_UNSUPPORTED, rows[i].looks);
    assert_refused("", 0, QD_INVALID, "nothing (0 bytes)");
}
END_TEST

/* Every prefix, in memory of exactly its size, so that AddressSanitizer sees a read past it. */
static void assert_every_prefix_refused(const char *name)
{
    struct qd_buf buf = read_picture(name);

    for (size_t size = 8; size + 2 < buf.size; size++) {
        uint8_t *prefix = malloc(size);
        struct qd_error err = {""};
        struct qd_image image;
        enum qd_status status;

        memcpy(prefix, buf.bytes, size);
        status = qd_image_decode(prefix, size, 3, &limits, &image, &err);
        ck_assert_msg(status == QD_INVALID, "%s cut at %zu of %zu: status %d, %s", name, size, buf.size, status,
                      err.text);
        free(prefix);
    }
    qd_buf_done(&buf);
}

START_TEST(test_truncated_anywhere_is_invalid)
{
    assert_every_prefix_refused("rgb_420.jpg");
    assert_every_prefix_refused("rgb_progressive.jpg");
    assert_every_prefix_refused("grey.jpg");
    assert_every_prefix_refused("rgb.png");
    assert_every_prefix_refused("rgb_interlaced.png");
}
END_TEST

START_TEST(test_huge_headers_are_too_large_before_anything_is_allocated)
{
    struct qd_buf png = read_picture("rgb.png"), jpeg = read_picture("rgb_420.jpg");
    uint8_t *frame = memmem(jpeg.bytes, jpeg.size, "\xff\xc0", 2);

    memcpy(png.bytes + 16, "\0\0\xc3\x50\0\0\xc3\x50", 8);
    ck_assert_ptr_nonnull(frame);
    memcpy(frame + 5, "\xfd\xe8\xfd\xe8", 4);
    qd_alloc_fail_after(0);
    assert_refused(png.bytes, png.size, QD_TOO_LARGE, "expected at most 50000000 pixels, found 50000 x 50000");
    assert_refused(jpeg.bytes, jpeg.size, QD_TOO_LARGE, "expected at most 50000000 pixels, found 65000 x 65000");
    ck_assert_int_eq(qd_alloc_fail_after(-1), 0);
    memcpy(frame + 5, "\xff\xff\xff\xff", 4);
    assert_refused(jpeg.bytes, jpeg.size, QD_TOO_LARGE, "Maximum supported image dimension");
    memcpy(png.bytes + 16, "\xff\xff\xff\xff\0\0\0\1", 8);
    assert_refused(png.bytes, png.size, QD_TOO_LARGE, "found 4294967295 x 1");
    qd_buf_done(&png);
    qd_buf_done(&jpeg);
}
END_TEST

START_TEST(test_zero_sides_and_cmyk_and_a_wrong_first_chunk)
{
    struct qd_buf png = read_picture("rgb.png"), jpeg = read_picture("rgb_420.jpg");
    struct qd_buf cmyk = read_picture("refused_cmyk.jpg");
    uint8_t *frame = memmem(jpeg.bytes, jpeg.size, "\xff\xc0", 2);

    assert_refused(cmyk.bytes, cmyk.size, QD_UNSUPPORTED, "found CMYK with 4 components");
    memcpy(frame + 5, "\0\0", 2);
    assert_refused(jpeg.bytes, jpeg.size, QD_INVALID, "JPEG picture: ");
    memcpy(png.bytes + 16, "\0\0\0\0", 4);
    assert_refused(png.bytes, png.size, QD_INVALID, "expected at least 1 x 1 pixel, found 0 x 37");
    memcpy(png.bytes + 12, "CgBI", 4);
    assert_refused(png.bytes, png.size, QD_INVALID, "IHDR");
    qd_buf_done(&png);
    qd_buf_done(&jpeg);
    qd_buf_done(&cmyk);
}
END_TEST

/* Where the pixel at (x, y) of the upright picture lies in the stored one, by EXIF's own words. */
static void stored_place(int orientation, int x, int y, int w, int h, int *ret_x, int *ret_y)
{
    const int places[9][2] = {{0, 0}, {x, y},         {w - 1 - x, y},         {w - 1 - x, h - 1 - y}, {x, h - 1 - y},
                              {y, x}, {y, h - 1 - x}, {w - 1 - y, h - 1 - x}, {w - 1 - y, x}};

    *ret_x = places[orientation][0];
    *ret_y = places[orientation][1];
}

START_TEST(test_orientations)
{
    struct qd_image stored = decode_picture("orientation_1.jpg", 3);

    for (int orientation = 1; orientation <= 8; orientation++) {
        char name[32];
        struct qd_image image;
        int from_x, from_y;

        snprintf(name, sizeof(name), "orientation_%d.jpg", orientation);
        image = decode_picture(name, 3);
        ck_assert_int_eq(image.width, orientation > 4 ? stored.height : stored.width);
        ck_assert_int_eq(image.height, orientation > 4 ? stored.width : stored.height);
        for (int y = 0; y < image.height; y++)
            for (int x = 0; x < image.width; x++) {
                stored_place(orientation, x, y, stored.width, stored.height, &from_x, &from_y);
                ck_assert_mem_eq(image.pixels + 3 * (y * image.width + x),
                                 stored.pixels + 3 * (from_y * stored.width + from_x), 3);
            }
        qd_image_done(&image);
    }
    qd_image_done(&stored);
}
END_TEST

/* A TIFF block in memory of exactly its size, so that AddressSanitizer sees a read past it. */
static int orientation_of(const char *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    int orientation;

    memcpy(copy, bytes, size);
    orientation = qd_exif_orientation(copy, size);
    free(copy);
    return orientation;
}

START_TEST(test_exif_lies_do_no_harm)
{
    static const char good[] = "II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0";
    static const char lying[] = "II*\0\10\0\0\0\xff\xff\0\1\3\0\1\0\0\0\6\0\0\0";
    static const char big[] = "MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\10\0\0";

    ck_assert_int_eq(orientation_of(good, 22), 6);
    ck_assert_int_eq(orientation_of(big, 22), 8);
    ck_assert_int_eq(orientation_of(lying, 22), 1);
    for (size_t size = 0; size < 22; size++)
        ck_assert_int_eq(orientation_of(good, size), 1);
    ck_assert_int_eq(orientation_of("II*\0\xff\xff\xff\xff", 8), 1);
    ck_assert_int_eq(orientation_of("II*\0\7\0\0\0", 8), 1);
    ck_assert_int_eq(orientation_of("II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\11\0\0\0", 22), 1);
}
END_TEST

START_TEST(test_grey_and_rgb_of_the_same_picture)
{
    struct qd_image grey = decode_picture("grey.png", 1), replicated = decode_picture("grey.png", 3);
    struct qd_image rgb = decode_picture("rgb.png", 3), converted = decode_picture("rgb.png", 1);

    for (int i = 0; i < grey.width * grey.height; i++) {
        const uint8_t *p = rgb.pixels + 3 * i;
        double exact = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];

        ck_assert_uint_eq(replicated.pixels[3 * i + 2], grey.pixels[i]);
        ck_assert_double_le(exact > converted.pixels[i] ? exact - converted.pixels[i] : converted.pixels[i] - exact,
                            0.51);
    }
    qd_image_done(&grey);
    qd_image_done(&replicated);
    qd_image_done(&rgb);
    qd_image_done(&converted);
}
END_TEST

START_TEST(test_resize_window_equals_the_part_of_the_whole)
{
    struct qd_image in = decode_picture("rgb_444.jpg", 3), whole, window;
    struct qd_error err = {""};

    for (int kind = QD_BILINEAR; kind <= QD_NEAREST; kind++) {
        struct qd_resize all = {120, 23, 0, 0, 120, 23, (enum qd_interpolation)kind};
        struct qd_resize part = {120, 23, 31, 5, 47, 11, (enum qd_interpolation)kind};

        ck_assert_ok(qd_image_resize(&in, &all, &whole, &err), &err);
        ck_assert_ok(qd_image_resize(&in, &part, &window, &err), &err);
        for (int y = 0; y < 11; y++)
            ck_assert_mem_eq(window.pixels + y * 47 * 3, whole.pixels + ((y + 5) * 120 + 31) * 3, 47 * 3);
        qd_image_done(&whole);
        qd_image_done(&window);
    }
    qd_image_done(&in);
}
END_TEST

START_TEST(test_every_tier_gives_the_same_bytes)
{
#ifdef QD_X86
    if (__builtin_cpu_supports("avx2"))
        for (int i = 0; i < 60; i++) {
            struct qd_image in = decode_picture("rgb.png", i % 2 ? 1 : 3), a, b;
            struct qd_resize resize = {.width = 1 + i * 7 % 130, .height = 1 + i * 11 % 90};
            struct qd_error err = {""};

            resize.crop_w = resize.width;
            resize.crop_h = resize.height;
            resize.interpolation = i % 3 ? QD_BILINEAR : QD_BICUBIC;
            ck_assert_ok(qd_image_resize_by(&qd_resample_scalar, &in, &resize, &a, &err), &err);
            ck_assert_ok(qd_image_resize_by(&qd_resample_avx2, &in, &resize, &b, &err), &err);
            ck_assert_mem_eq(a.pixels, b.pixels, (size_t)(a.width * a.height * a.n_channels));
            qd_image_done(&in);
            qd_image_done(&a);
            qd_image_done(&b);
        }
#endif
}
END_TEST

static const struct qd_preprocess letterbox = {.color = QD_BGR,
                                               .resize = QD_LETTERBOX,
                                               .size_h = 64,
                                               .size_w = 64,
                                               .crop_h = 64,
                                               .crop_w = 64,
                                               .interpolation = QD_BICUBIC,
                                               .scale = 1,
                                               .std = {1, 1, 1},
                                               .pad_value = 114};

START_TEST(test_preprocess_survives_every_failing_allocation)
{
    static const char *const names[] = {"orientation_6.jpg", "orientation_6.png", "grey_16.png"};
    uint8_t *out = qd_alloc(qd_preprocess_bytes(&letterbox));

    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++) {
        struct qd_buf buf = read_picture(names[i]);
        enum qd_status status = QD_NO_MEMORY;
        long n;

        for (n = 0; status != QD_OK && n < 1000; n++) {
            struct qd_error err = {""};

            qd_alloc_fail_after(n);
            status = qd_preprocess_run(&letterbox, buf.bytes, buf.size, &limits, out, &err);
            qd_alloc_fail_after(-1);
            ck_assert_msg(status == QD_OK || status == QD_NO_MEMORY, "%s, allocation %ld: status %d, %s", names[i], n,
                          status, err.text);
            ck_assert(status == QD_OK || err.text[0]);
        }
        ck_assert_int_eq(status, QD_OK);
        ck_assert_int_gt(n, 5);
        qd_buf_done(&buf);
    }
    qd_free(out);
}
END_TEST

START_TEST(test_preprocess_pads_a_letterbox_and_refuses_an_endless_strip)
{
    struct qd_preprocess strip_to_side = {
        .size_h = 60000, .size_w = 60000, .crop_h = 1, .crop_w = 1, .resize = QD_SHORTER_SIDE, .std = {1, 1, 1}};
    uint8_t *out = qd_alloc(qd_preprocess_bytes(&letterbox));
    struct qd_buf strip = read_picture("strip.png");
    struct qd_error err = {""};

    ck_assert_ok(qd_preprocess_run(&letterbox, strip.bytes, strip.size, &limits, out, &err), &err);
    ck_assert_uint_eq(out[0], 114);
    ck_assert_uint_eq(out[64 * 64 * 3 - 1], 114);
    strip_to_side.size_h = 1 << 20;
    ck_assert_int_eq(qd_preprocess_run(&strip_to_side, strip.bytes, strip.size, &limits, out, &err), QD_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.text, "51 x 1"));
    qd_buf_done(&strip);
    qd_free(out);
}
END_TEST

static void choose_given(const void *context, struct qd_image_part *part)
{
    *part = (struct qd_image_part){.width = part->width,
                                   .height = part->height,
                                   .orientation = part->orientation,
                                   .eighths = ((const struct qd_image_part *)context)->eighths,
                                   .window = ((const struct qd_image_part *)context)->window};
}

static struct qd_image decode_part(const struct qd_buf *buf, int eighths, struct qd_rect window,
                                   struct qd_image_part *ret)
{
    struct qd_image_part asked = {.eighths = eighths, .window = window};
    const struct qd_part_chooser chooser = {choose_given, &asked};
    struct qd_error err = {""};
    struct qd_image image;

    ck_assert_ok(qd_image_decode_part(buf->bytes, buf->size, 3, &limits, &chooser, &image, ret, &err), &err);
    return image;
}

/* The window that was asked for holds the bytes of the whole picture at that size. */
static void assert_window(const struct qd_image *whole, const struct qd_image *image, const struct qd_rect *asked,
                          const struct qd_rect *got)
{
    ck_assert_int_eq(image->width, got->width);
    ck_assert_int_eq(image->height, got->height);
    ck_assert_int_le(got->x, asked->x);
    ck_assert_int_le(got->y, asked->y);
    for (int y = 0; y < asked->height; y++)
        ck_assert_mem_eq(image->pixels + ((asked->y - got->y + y) * image->width + asked->x - got->x) * 3,
                         whole->pixels + ((asked->y + y) * whole->width + asked->x) * 3, (size_t)asked->width * 3);
}

START_TEST(test_a_decoded_window_equals_the_part_of_the_whole)
{
    static const char *const names[] = {"rgb_420.jpg", "rgb_422.jpg",         "rgb_444.jpg",
                                        "grey.jpg",    "rgb_progressive.jpg", "rgb.png"};

    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++)
        for (int eighths = names[i][4] == 'p' ? 8 : 1; eighths <= 8; eighths *= 2) {
            struct qd_buf buf = read_picture(names[i]);
            int w = (51 * eighths + 7) / 8, h = (37 * eighths + 7) / 8;
            struct qd_image_part part;
            struct qd_image whole = decode_part(&buf, eighths, (struct qd_rect){0, 0, w, h}, &part);

            ck_assert_int_eq(whole.width, w);
            ck_assert_int_eq(whole.height, h);
            for (int j = 0; j < 200; j++) {
                int x = j * 7 % w, y = j * 5 % h;
                struct qd_rect asked = {x, y, 1 + j * 11 % (w - x), 1 + j * 13 % (h - y)};
                struct qd_image image = decode_part(&buf, eighths, asked, &part);

                assert_window(&whole, &image, &asked, &part.window);
                qd_image_done(&image);
            }
            qd_image_done(&whole);
            qd_buf_done(&buf);
        }
}
END_TEST

/* To 9 x 12 and a crop of 6 x 7: 51 x 37 goes to a quarter (12.75 x 9.25) on the way. */
static const struct qd_preprocess to_a_quarter = {
    .size_h = 9, .size_w = 9, .crop_h = 6, .crop_w = 7, .scale = 1, .std = {1, 1, 1}};

START_TEST(test_a_cut_below_the_crop_is_invalid)
{
    static const char *const names[] = {"rgb_420.jpg", "rgb_progressive.jpg", "grey.jpg"};
    struct qd_preprocess top = to_a_quarter;
    uint8_t out[6 * 7 * 3];

    top.crop_h = 1;
    top.anchor = QD_TOP_LEFT;
    for (size_t i = 0; i < 2 * QD_ARRAY_SIZE(names); i++) {
        struct qd_buf buf = read_picture(names[i / 2]);

        top.decode = i % 2 ? QD_DECODE_SCALED : QD_DECODE_FULL;
        for (size_t size = 8; size + 2 < buf.size; size++) {
            struct qd_error err = {""};

            ck_assert_int_eq(qd_preprocess_run(&top, buf.bytes, size, &limits, out, &err), QD_INVALID);
        }
        qd_buf_done(&buf);
    }
}
END_TEST

/* Mean difference of a byte between the two ways to decode. */
static double difference_of_scaled(const char *name, const struct qd_preprocess *full)
{
    size_t size = qd_preprocess_bytes(full);
    struct qd_preprocess scaled = *full;
    uint8_t *a = qd_alloc(size), *b = qd_alloc(size);
    struct qd_buf buf = read_picture(name);
    struct qd_error err = {""};
    double sum = 0;

    scaled.decode = QD_DECODE_SCALED;
    ck_assert_ok(qd_preprocess_run(full, buf.bytes, buf.size, &limits, a, &err), &err);
    ck_assert_ok(qd_preprocess_run(&scaled, buf.bytes, buf.size, &limits, b, &err), &err);
    for (size_t i = 0; i < size; i++)
        sum += abs(a[i] - b[i]);
    qd_free(a);
    qd_free(b);
    qd_buf_done(&buf);
    return sum / (double)size;
}

START_TEST(test_scaled_decoding_is_near_full_decoding_and_the_same_where_nothing_scales)
{
    static const char *const names[] = {"rgb_420.jpg", "rgb_422.jpg", "rgb_444.jpg", "rgb_progressive.jpg"};
    struct qd_preprocess one_over_half = to_a_quarter;
    char turned[] = "orientation_0.jpg";

    one_over_half.size_h = one_over_half.size_w = 19;
    for (size_t i = 0; i < QD_ARRAY_SIZE(names); i++) {
        double difference = difference_of_scaled(names[i], &to_a_quarter);

        ck_assert_msg(difference > 0 && difference <= 8, "%s: a difference of %.2f", names[i], difference);
        ck_assert(difference_of_scaled(names[i], &one_over_half) == 0);
    }
    for (int i = 1; i <= 8; i++) {
        double difference;

        turned[12] = (char)('0' + i);
        difference = difference_of_scaled(turned, &to_a_quarter);
        ck_assert_msg(difference > 0 && difference <= 8, "%s: a difference of %.2f", turned, difference);
    }
    ck_assert(difference_of_scaled("rgb.png", &to_a_quarter) == 0);
}
END_TEST

static struct qd_hash hash_of(const struct qd_preprocess *preprocess)
{
    struct qd_hasher hasher;

    qd_hasher_init(&hasher);
    qd_preprocess_hash(preprocess, &hasher);
    return qd_hasher_finish(&hasher);
}

START_TEST(test_preprocess_hash_sees_every_field)
{
    struct qd_hash plain = hash_of(&letterbox), again = hash_of(&letterbox);
    struct qd_preprocess changed[16];
    size_t n = 0;

    for (size_t i = 0; i < QD_ARRAY_SIZE(changed); i++)
        changed[i] = letterbox;
    changed[n++].color = QD_RGB;
    changed[n++].resize = QD_STRETCH;
    changed[n++].size_h = 65;
    changed[n++].size_w = 65;
    changed[n++].crop_h = 65;
    changed[n++].crop_w = 65;
    changed[n++].interpolation = QD_NEAREST;
    changed[n++].scale = 2;
    changed[n++].mean[0] = 1;
    changed[n++].mean[2] = 1;
    changed[n++].std[0] = 2;
    changed[n++].std[2] = 2;
    changed[n++].pad_value = 0;
    changed[n++].anchor = QD_TOP_LEFT;
    changed[n++].decode = QD_DECODE_SCALED;
    ck_assert_mem_eq(plain.bytes, again.bytes, QD_HASH_SIZE);
    for (size_t i = 0; i < n; i++) {
        struct qd_hash other = hash_of(&changed[i]);

        ck_assert_msg(memcmp(plain.bytes, other.bytes, QD_HASH_SIZE) != 0, "field %zu does not reach the hash", i);
    }
}
END_TEST

QD_UNIT_MAIN("image", test_unknown_content_is_named, test_truncated_anywhere_is_invalid,
             test_huge_headers_are_too_large_before_anything_is_allocated,
             test_zero_sides_and_cmyk_and_a_wrong_first_chunk, test_orientations, test_exif_lies_do_no_harm,
             test_grey_and_rgb_of_the_same_picture, test_resize_window_equals_the_part_of_the_whole,
             test_every_tier_gives_the_same_bytes, test_preprocess_survives_every_failing_allocation,
             test_preprocess_pads_a_letterbox_and_refuses_an_endless_strip, test_preprocess_hash_sees_every_field,
             test_a_decoded_window_equals_the_part_of_the_whole, test_a_cut_below_the_crop_is_invalid,
             test_scaled_decoding_is_near_full_decoding_and_the_same_where_nothing_scales)
