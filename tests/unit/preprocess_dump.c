/*
 * For test_image_pillow.sh: writes what the network would read, so that Pillow can be asked for the same.
 *
 * preprocess_dump OUT COLOR RESIZE SIZE_H SIZE_W CROP_H CROP_W INTERPOLATION PAD ANCHOR DECODE FILE...
 *     with COLOR to DECODE as numbers of the enums; the pictures' bytes one after the other.
 * preprocess_dump OUT decode CHANNELS FILE...
 *     the whole decoded pictures, each after its width and height as 32-bit integers.
 * preprocess_dump time REPEATS SIZE CROP DECODE FILE...
 *     prints the median milliseconds per picture of decoding it whole and of the preprocessing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/mem.h"

static const struct qd_image_limits limits = {.max_pixels = 100000000};

static void die(const char *path, const struct qd_error *err)
{
    fprintf(stderr, "%s: %s\n", path, err->text);
    exit(1);
}

static struct qd_buf read_file(const char *path)
{
    struct qd_error err = {""};
    struct qd_buf buf;

    if (qd_file_read(path, 100u << 20, &buf, &err) != QD_OK)
        die(path, &err);
    return buf;
}

static void dump_decoded(FILE *out, const char *path, int n_channels)
{
    struct qd_buf buf = read_file(path);
    struct qd_error err = {""};
    struct qd_image image;

    if (qd_image_decode(buf.bytes, buf.size, n_channels, &limits, &image, &err) != QD_OK)
        die(path, &err);
    fwrite((int32_t[]){image.width, image.height}, 4, 2, out);
    fwrite(image.pixels, (size_t)n_channels, (size_t)image.width * (size_t)image.height, out);
    qd_image_done(&image);
    qd_buf_done(&buf);
}

static void dump_preprocessed(FILE *out, const char *path, const struct qd_preprocess *preprocess)
{
    size_t size = qd_preprocess_bytes(preprocess);
    uint8_t *bytes = qd_alloc(size);
    struct qd_buf buf = read_file(path);
    struct qd_error err = {""};

    if (qd_preprocess_run(preprocess, buf.bytes, buf.size, &limits, bytes, &err) != QD_OK)
        die(path, &err);
    fwrite(bytes, 1, size, out);
    qd_free(bytes);
    qd_buf_done(&buf);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void print_time(const char *path, const struct qd_preprocess *preprocess, size_t n)
{
    int64_t *decode_ns = qd_alloc_array(n, sizeof(int64_t)), *all_ns = qd_alloc_array(n, sizeof(int64_t));
    uint8_t *bytes = qd_alloc(qd_preprocess_bytes(preprocess));
    struct qd_buf buf = read_file(path);
    struct qd_error err = {""};
    struct qd_image image = {0};

    for (size_t i = 0; i < n; i++) {
        int64_t start = qd_now_ns();

        if (qd_image_decode(buf.bytes, buf.size, 3, &limits, &image, &err) != QD_OK)
            die(path, &err);
        decode_ns[i] = qd_now_ns() - start;
        if (!i)
            printf("%s %d x %d: ", path, image.width, image.height);
        qd_image_done(&image);
        start = qd_now_ns();
        if (qd_preprocess_run(preprocess, buf.bytes, buf.size, &limits, bytes, &err) != QD_OK)
            die(path, &err);
        all_ns[i] = qd_now_ns() - start;
    }
    qsort(decode_ns, n, sizeof(int64_t), compare_times);
    qsort(all_ns, n, sizeof(int64_t), compare_times);
    printf("decode %.3f ms, all %.3f ms\n", (double)decode_ns[n / 2] / 1e6, (double)all_ns[n / 2] / 1e6);
    qd_free(decode_ns);
    qd_free(all_ns);
    qd_free(bytes);
    qd_buf_done(&buf);
}

static FILE *create(const char *path)
{
    FILE *out = fopen(path, "wb");

    if (!out) {
        perror(path);
        exit(1);
    }
    return out;
}

int main(int argc, char **argv)
{
    struct qd_preprocess preprocess = {.interpolation = QD_BILINEAR};
    FILE *out;

    if (argc > 6 && !strcmp(argv[1], "time")) {
        preprocess.size_h = preprocess.size_w = atoi(argv[3]);
        preprocess.crop_h = preprocess.crop_w = atoi(argv[4]);
        preprocess.decode = (enum qd_decode)atoi(argv[5]);
        for (int i = 6; i < argc; i++)
            print_time(argv[i], &preprocess, (size_t)atoi(argv[2]));
        return 0;
    }
    if (argc > 4 && !strcmp(argv[2], "decode")) {
        out = create(argv[1]);
        for (int i = 4; i < argc; i++)
            dump_decoded(out, argv[i], atoi(argv[3]));
        return fclose(out) ? 1 : 0;
    }
    if (argc < 13)
        return 2;
    preprocess = (struct qd_preprocess){
        .color = (enum qd_color)atoi(argv[2]),
        .resize = (enum qd_resize_mode)atoi(argv[3]),
        .size_h = atoi(argv[4]),
        .size_w = atoi(argv[5]),
        .crop_h = atoi(argv[6]),
        .crop_w = atoi(argv[7]),
        .interpolation = (enum qd_interpolation)atoi(argv[8]),
        .pad_value = atoi(argv[9]),
        .anchor = (enum qd_anchor)atoi(argv[10]),
        .decode = (enum qd_decode)atoi(argv[11]),
    };
    out = create(argv[1]);
    for (int i = 12; i < argc; i++)
        dump_preprocessed(out, argv[i], &preprocess);
    return fclose(out) ? 1 : 0;
}
