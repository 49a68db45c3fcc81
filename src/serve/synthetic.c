#include "serve/synthetic.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"

#define N_PICTURES 8

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Soft colour gradients with blocks and noise: every layer gets something to do. */
static void paint(uint8_t *pixels, int width, int height, uint64_t *state)
{
    uint32_t base = next_random(state);

    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < 3; c++) {
                uint32_t block = (uint32_t)((x / 16) * 31 + (y / 16) * 17 + c * 7) * base;

                pixels[((size_t)y * (size_t)width + (size_t)x) * 3 + (size_t)c] =
                    (uint8_t)((uint32_t)(x * 255 / width) / 3 + (block >> 13 & 127) + next_random(state) % 43);
            }
        }
    }
}

enum qd_status qd_synthetic_make(const struct qd_preprocess *preprocess, struct qd_synthetic *ret,
                                 struct qd_error *err)
{
    int width = preprocess->crop_w, height = preprocess->crop_h;
    uint8_t *pixels = NULL;
    uint64_t state = 1;
    enum qd_status status;

    snprintf(ret->folder, sizeof(ret->folder), "/tmp/quantd-synthetic-XXXXXX");
    if (!mkdtemp(ret->folder)) {
        status = qd_error_set(err, QD_IO, "cannot make a folder in /tmp: %s", strerror(errno));
        ret->folder[0] = 0;
        return status;
    }
    status = qd_alloc_for((void **)&pixels, (size_t)width * (size_t)height, 3, "synthetic pictures", err);
    for (int i = 0; i < N_PICTURES && status == QD_OK; i++) {
        png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height,
                           .format = PNG_FORMAT_RGB};
        char path[96];

        paint(pixels, width, height, &state);
        snprintf(path, sizeof(path), "%s/%d.png", ret->folder, i);
        if (!png_image_write_to_file(&image, path, 0, pixels, 0, NULL))
            status = qd_error_set(err, QD_IO, "cannot write '%s': %s", path, image.message);
    }
    qd_free(pixels);
    return status;
}

void qd_synthetic_done(struct qd_synthetic *synthetic)
{
    char path[96];

    if (!synthetic->folder[0])
        return;
    for (int i = 0; i < N_PICTURES; i++) {
        snprintf(path, sizeof(path), "%s/%d.png", synthetic->folder, i);
        unlink(path);
    }
    rmdir(synthetic->folder);
}
