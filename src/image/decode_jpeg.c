/* libjpeg-turbo through libjpeg's interface: its warnings have numbers, which TurboJPEG's do not. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "image/internal.h"
#include "util/mem.h"

/* A progressive file refines the whole picture once per scan; real ones have about 10. More is an attack on time. */
#define MAX_SCANS 100

/* Columns beside a window that are decoded too, where there are any. */
#define EDGE 2

/* Everything of one decode; libjpeg's callbacks find it as client_data. */
struct jpeg_reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf leave;
    const struct qd_image_limits *limits;
    const struct qd_part_chooser *chooser;
    struct qd_image image;
    struct qd_image_part part;
    uint8_t *spare_row;
    enum qd_status status;
    struct qd_error *err;
};

/* libjpeg's messages that are not about broken data. */
static const struct {
    int code;
    enum qd_status status;
} error_statuses[] = {
    {JERR_OUT_OF_MEMORY, QD_NO_MEMORY},        {JERR_IMAGE_TOO_BIG, QD_TOO_LARGE},
    {JERR_SOF_UNSUPPORTED, QD_UNSUPPORTED},    {JERR_BAD_PRECISION, QD_UNSUPPORTED},
    {JERR_ARITH_NOTIMPL, QD_UNSUPPORTED},      {JERR_CCIR601_NOTIMPL, QD_UNSUPPORTED},
    {JERR_CONVERSION_NOTIMPL, QD_UNSUPPORTED}, {JERR_FRACT_SAMPLE_NOTIMPL, QD_UNSUPPORTED},
    {JERR_NOT_COMPILED, QD_UNSUPPORTED},       {JERR_NOTIMPL, QD_UNSUPPORTED},
};

/*
 * Warnings that leave every pixel as its maker meant it. Stray bytes before a marker are common in photographs
 * (cameras pad), and every viewer shows them.
 */
static const int harmless_warnings[] = {JWRN_EXTRANEOUS_DATA, JWRN_JFIF_MAJOR, JWRN_ADOBE_XFORM, JWRN_BOGUS_ICC};

static void fail(struct jpeg_reader *reader, enum qd_status status) __attribute__((noreturn));
static void fail(struct jpeg_reader *reader, enum qd_status status)
{
    reader->status = status;
    longjmp(reader->leave, 1);
}

static void fail_with_message(j_common_ptr jpeg, enum qd_status status) __attribute__((noreturn));
static void fail_with_message(j_common_ptr jpeg, enum qd_status status)
{
    struct jpeg_reader *reader = jpeg->client_data;
    char message[JMSG_LENGTH_MAX];

    jpeg->err->format_message(jpeg, message);
    qd_error_set(reader->err, status, "%s", message);
    fail(reader, status);
}

static void on_error(j_common_ptr jpeg)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(error_statuses); i++)
        if (jpeg->err->msg_code == error_statuses[i].code)
            fail_with_message(jpeg, error_statuses[i].status);
    fail_with_message(jpeg, QD_INVALID);
}

static void on_message(j_common_ptr jpeg, int level)
{
    struct jpeg_reader *reader = jpeg->client_data;

    if (level >= 0)
        return;
    for (size_t i = 0; i < QD_ARRAY_SIZE(harmless_warnings); i++)
        if (jpeg->err->msg_code == harmless_warnings[i])
            return;
    if (jpeg->err->msg_code == JWRN_JPEG_EOF) {
        qd_error_set(reader->err, QD_INVALID, "truncated: the data end before the picture does");
        fail(reader, QD_INVALID);
    }
    fail_with_message(jpeg, QD_INVALID);
}

static void on_progress(j_common_ptr jpeg)
{
    struct jpeg_reader *reader = jpeg->client_data;

    if (reader->jpeg.input_scan_number > MAX_SCANS) {
        qd_error_set(reader->err, QD_TOO_LARGE, "expected at most %d scans, found more", MAX_SCANS);
        fail(reader, QD_TOO_LARGE);
    }
}

static const char *unsupported_space(const struct jpeg_decompress_struct *jpeg)
{
    switch (jpeg->jpeg_color_space) {
    case JCS_CMYK:
        return "CMYK";
    case JCS_YCCK:
        return "YCCK (CMYK)";
    case JCS_GRAYSCALE:
    case JCS_RGB:
    case JCS_YCbCr:
        return NULL;
    default:
        return "an unknown colour space";
    }
}

static void read_header(struct jpeg_reader *reader)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    const char *space;
    int orientation = 1;
    enum qd_status status;

    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    space = unsupported_space(jpeg);
    if (space) {
        qd_error_set(reader->err, QD_UNSUPPORTED, "expected grey or RGB colours, found %s with %d components", space,
                     jpeg->num_components);
        fail(reader, QD_UNSUPPORTED);
    }
    status = qd_image_check_size(jpeg->image_width, jpeg->image_height, reader->limits, reader->err);
    if (status != QD_OK)
        fail(reader, status);

    for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker; marker = marker->next)
        if (marker->data_length > 6 && !memcmp(marker->data, "Exif\0", 6)) {
            orientation = qd_exif_orientation(marker->data + 6, marker->data_length - 6);
            break;
        }
    reader->part = qd_image_whole((int)jpeg->image_width, (int)jpeg->image_height, orientation, 8);
    if (reader->chooser)
        reader->chooser->choose(reader->chooser->context, &reader->part);
}

/*
 * Leaves out the columns beside the window, as far as whole blocks of them can be. Upsampled chroma looks one column to
 * either side: EDGE more columns keep the picture's inside from looking like its edge.
 */
static void crop_columns(struct jpeg_reader *reader)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    struct qd_rect *window = &reader->part.window;
    int start = window->x > EDGE ? window->x - EDGE : 0;
    int end = window->x + window->width + EDGE;
    JDIMENSION x = (JDIMENSION)start, width = jpeg->output_width - x;

    if (end < (int)jpeg->output_width)
        width = (JDIMENSION)(end - start);
    if (width < jpeg->output_width)
        jpeg_crop_scanline(jpeg, &x, &width);
    window->x = (int)x;
    window->width = (int)width;
}

/* Rows below the window are skipped, but for the last: data that end before the picture does are an error. */
static void read_rows(struct jpeg_reader *reader)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    const struct qd_rect *window = &reader->part.window;
    size_t row_size = (size_t)window->width * (size_t)reader->image.n_channels;
    JSAMPROW row = reader->image.pixels;
    JDIMENSION n_below = jpeg->output_height - (JDIMENSION)(window->y + window->height);

    if (window->y)
        jpeg_skip_scanlines(jpeg, (JDIMENSION)window->y);
    for (int y = 0; y < window->height; y++, row += row_size)
        jpeg_read_scanlines(jpeg, &row, 1);
    if (n_below > 1)
        jpeg_skip_scanlines(jpeg, n_below - 1);
    if (n_below) {
        row = reader->spare_row;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
}

static void read_pixels(struct jpeg_reader *reader)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    const struct qd_rect *window = &reader->part.window;
    bool is_grey = jpeg->jpeg_color_space == JCS_GRAYSCALE;
    enum qd_status status;

    jpeg->out_color_space = is_grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    jpeg->scale_num = (unsigned)reader->part.eighths;
    jpeg->scale_denom = 8;
    jpeg_start_decompress(jpeg);
    crop_columns(reader);
    status = qd_image_alloc(window->width, window->height, is_grey ? 1 : 3, &reader->image, reader->err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&reader->spare_row, (size_t)window->width, 3, "a picture's row", reader->err);
    if (status != QD_OK)
        fail(reader, status);

    read_rows(reader);
}

/* A function of its own: what setjmp might clobber lives in the caller. */
static void read_guarded(struct jpeg_reader *reader, const uint8_t *bytes, size_t size)
{
    if (setjmp(reader->leave))
        return;
    jpeg_create_decompress(&reader->jpeg);
    reader->jpeg.progress = &reader->progress;
    jpeg_mem_src(&reader->jpeg, bytes, size);
    read_header(reader);
    read_pixels(reader);
}

static enum qd_status decode(const uint8_t *bytes, size_t size, const struct qd_image_limits *limits,
                             const struct qd_part_chooser *chooser, struct qd_image *ret,
                             struct qd_image_part *ret_part, struct qd_error *err)
{
    struct jpeg_reader reader = {.limits = limits, .chooser = chooser, .err = err};

    reader.jpeg.err = jpeg_std_error(&reader.errors);
    reader.errors.error_exit = on_error;
    reader.errors.emit_message = on_message;
    reader.progress.progress_monitor = on_progress;
    reader.jpeg.client_data = &reader;
    read_guarded(&reader, bytes, size);
    jpeg_destroy_decompress(&reader.jpeg);
    qd_free(reader.spare_row);
    if (reader.status != QD_OK) {
        qd_image_done(&reader.image);
        return reader.status;
    }
    *ret = reader.image;
    *ret_part = reader.part;
    return QD_OK;
}

static bool sniff(const uint8_t *bytes, size_t size)
{
    return size >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3);
}

const struct qd_decoder qd_decoder_jpeg = {.name = "JPEG", .sniff = sniff, .decode = decode};
