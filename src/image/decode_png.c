#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "image/internal.h"
#include "util/mem.h"

/* Chunks that cannot change a pixel here are skipped unread: text and profiles are where decompression bombs hide. */
static const png_byte ignored_chunks[] = "bKGD\0cHRM\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0"
                                         "sRGB\0tEXt\0tIME\0zTXt";
#define N_IGNORED_CHUNKS ((int)(sizeof(ignored_chunks) / 5))

/* The longest of a chunk that is kept (eXIf and PLTE). */
#define MAX_CHUNK_BYTES 1000000

/* Everything of one decode; libpng's callbacks find it as their pointer. */
struct png_reader {
    png_structp png;
    png_infop info;
    const uint8_t *bytes;
    size_t size, used;
    jmp_buf leave;
    const struct qd_image_limits *limits;
    struct qd_image image;
    int orientation;
    bool out_of_memory;
    enum qd_status status;
    struct qd_error *err;
};

static void fail(struct png_reader *reader, enum qd_status status) __attribute__((noreturn));
static void fail(struct png_reader *reader, enum qd_status status)
{
    reader->status = status;
    longjmp(reader->leave, 1);
}

static void on_error(png_structp png, png_const_charp message) __attribute__((noreturn));
static void on_error(png_structp png, png_const_charp message)
{
    struct png_reader *reader = png_get_error_ptr(png);
    enum qd_status status = reader->out_of_memory ? QD_NO_MEMORY : QD_INVALID;

    qd_error_set(reader->err, status, "%s", message);
    fail(reader, status);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    struct png_reader *reader = png_get_mem_ptr(png);
    void *memory = qd_alloc(size);

    reader->out_of_memory |= !memory;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    qd_free(memory);
}

static void on_read(png_structp png, png_bytep out, size_t n_wanted)
{
    struct png_reader *reader = png_get_io_ptr(png);

    if (n_wanted > reader->size - reader->used) {
        qd_error_set(reader->err, QD_INVALID, "truncated: the data end before the picture does");
        fail(reader, QD_INVALID);
    }
    memcpy(out, reader->bytes + reader->used, n_wanted);
    reader->used += n_wanted;
}

static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The size is checked here, in the first chunk, before libpng sees anything: 8 bytes signature, length, "IHDR". */
static enum qd_status check_header(const uint8_t *bytes, size_t size, const struct qd_image_limits *limits,
                                   struct qd_error *err)
{
    if (size < 33)
        return qd_error_set(err, QD_INVALID, "truncated: expected a header of 33 bytes, found %zu", size);
    if (read_u32(bytes + 8) != 13 || memcmp(bytes + 12, "IHDR", 4))
        return qd_error_set(err, QD_INVALID, "expected an IHDR chunk of 13 bytes first, found another");
    return qd_image_check_size(read_u32(bytes + 16), read_u32(bytes + 20), limits, err);
}

static void create(struct png_reader *reader)
{
    reader->png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning, reader, on_alloc, on_free);
    if (reader->png)
        reader->info = png_create_info_struct(reader->png);
    if (!reader->info) {
        qd_error_set(reader->err, QD_NO_MEMORY, "no memory for libpng");
        fail(reader, QD_NO_MEMORY);
    }
    png_set_read_fn(reader->png, reader, on_read);
    png_set_user_limits(reader->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(reader->png, MAX_CHUNK_BYTES);
    png_set_keep_unknown_chunks(reader->png, PNG_HANDLE_CHUNK_NEVER, ignored_chunks, N_IGNORED_CHUNKS);
}

/* Every kind of PNG becomes grey or RGB of 8 bits, as Pillow's modes L and RGB; alpha is dropped. */
static int set_transforms(struct png_reader *reader)
{
    int color = png_get_color_type(reader->png, reader->info);

    if (color == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(reader->png);
    if (color == PNG_COLOR_TYPE_GRAY)
        png_set_expand_gray_1_2_4_to_8(reader->png);
    png_set_strip_16(reader->png);
    png_set_strip_alpha(reader->png);
    return png_set_interlace_handling(reader->png);
}

static void read_pixels(struct png_reader *reader)
{
    int width = (int)png_get_image_width(reader->png, reader->info);
    int height = (int)png_get_image_height(reader->png, reader->info);
    int n_passes = set_transforms(reader);
    int n_channels;
    enum qd_status status;

    png_read_update_info(reader->png, reader->info);
    n_channels = png_get_channels(reader->png, reader->info);
    if (png_get_rowbytes(reader->png, reader->info) != (size_t)width * (size_t)n_channels ||
        (n_channels != 1 && n_channels != 3))
        png_error(reader->png, "expected rows of 8-bit grey or RGB");
    status = qd_image_alloc(width, height, n_channels, &reader->image, reader->err);
    if (status != QD_OK)
        fail(reader, status);

    for (int pass = 0; pass < n_passes; pass++)
        for (int y = 0; y < height; y++)
            png_read_row(reader->png, reader->image.pixels + (size_t)y * (size_t)width * (size_t)n_channels, NULL);
    png_read_end(reader->png, reader->info);
}

static void read_orientation(struct png_reader *reader)
{
    png_uint_32 size = 0;
    png_bytep exif = NULL;

    if (png_get_eXIf_1(reader->png, reader->info, &size, &exif))
        reader->orientation = qd_exif_orientation(exif, size);
}

/* A function of its own: what setjmp might clobber lives in the caller. */
static void read_guarded(struct png_reader *reader)
{
    if (setjmp(reader->leave))
        return;
    create(reader);
    png_read_info(reader->png, reader->info);
    read_pixels(reader);
    read_orientation(reader);
}

static enum qd_status decode(const uint8_t *bytes, size_t size, const struct qd_image_limits *limits,
                             const struct qd_part_chooser *chooser, struct qd_image *ret,
                             struct qd_image_part *ret_part, struct qd_error *err)
{
    struct png_reader reader = {.bytes = bytes, .size = size, .limits = limits, .orientation = 1, .err = err};

    (void)chooser; /* each row is predicted from the one above: nothing can be left out */
    reader.status = check_header(bytes, size, limits, err);
    if (reader.status != QD_OK)
        return reader.status;
    read_guarded(&reader);
    png_destroy_read_struct(&reader.png, &reader.info, NULL);
    if (reader.status != QD_OK) {
        qd_image_done(&reader.image);
        return reader.status;
    }
    *ret = reader.image;
    *ret_part = qd_image_whole(reader.image.width, reader.image.height, reader.orientation, 8);
    return QD_OK;
}

static bool sniff(const uint8_t *bytes, size_t size)
{
    return size >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8);
}

const struct qd_decoder qd_decoder_png = {.name = "PNG", .sniff = sniff, .decode = decode};
