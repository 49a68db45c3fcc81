/*
 * Compiles AMX sources for a CPU without it, under names of their own: the tile instructions in C, with what Intel's
 * manual makes a fault making the program stop. Included first. Static inline only; tests only.
 */
#ifndef QD_TESTS_KERNEL_EMULATE_AMX_H
#define QD_TESTS_KERNEL_EMULATE_AMX_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EMULATE_AVX512
#define qd_conv_pack_size_amx qd_conv_pack_size_amx_emulated
#define qd_conv_pack_amx qd_conv_pack_amx_emulated
#define qd_conv_amx qd_conv_amx_emulated
#else
#define qd_conv_pack_size_amx qd_conv_pack_size_amx_tiles
#define qd_conv_pack_amx qd_conv_pack_amx_tiles
#define qd_conv_amx qd_conv_amx_tiles
#endif

struct emulated_tile {
    int rows, row_bytes; /* both 0: not configured */
    uint8_t bytes[16][64];
};

static _Thread_local struct emulated_tile emulated_tiles[8];

static inline void emulate_fault(const char *what)
{
    fprintf(stderr, "emulated AMX: %s\n", what);
    abort();
}

static inline struct emulated_tile *emulate_tile(int i)
{
    if (emulated_tiles[i].rows == 0)
        emulate_fault("a tile that is not configured");
    return &emulated_tiles[i];
}

static inline void emulate_tile_release(void)
{
    memset(emulated_tiles, 0, sizeof(emulated_tiles));
}

static inline void emulate_tile_loadconfig(const void *config)
{
    uint8_t bytes[64];

    memcpy(bytes, config, sizeof(bytes));
    if (bytes[0] != 1 || bytes[1] != 0)
        emulate_fault("a palette other than 1, or a start row");
    emulate_tile_release();
    for (int i = 2; i < 64; i++) {
        if (bytes[i] != 0 && (i < 16 || (i >= 32 && i < 48) || i >= 56))
            emulate_fault("a reserved byte of the configuration that is not 0");
    }
    for (int i = 0; i < 8; i++) {
        struct emulated_tile *tile = &emulated_tiles[i];
        uint16_t row_bytes;

        memcpy(&row_bytes, bytes + 16 + 2 * i, sizeof(row_bytes));
        tile->row_bytes = row_bytes;
        tile->rows = bytes[48 + i];
        if (tile->rows > 16 || tile->row_bytes > 64 || (tile->rows == 0) != (tile->row_bytes == 0))
            emulate_fault("a tile larger than 16 rows of 64 bytes, or empty in one way");
    }
}

static inline void emulate_tile_zero(int i)
{
    memset(emulate_tile(i)->bytes, 0, sizeof(emulated_tiles[i].bytes));
}

static inline void emulate_tile_loadd(int i, const void *in, ptrdiff_t step)
{
    struct emulated_tile *tile = emulate_tile(i);

    memset(tile->bytes, 0, sizeof(tile->bytes));
    for (int row = 0; row < tile->rows; row++)
        memcpy(tile->bytes[row], (const uint8_t *)in + row * step, (size_t)tile->row_bytes);
}

static inline void emulate_tile_stored(int i, void *out, ptrdiff_t step)
{
    const struct emulated_tile *tile = emulate_tile(i);

    for (int row = 0; row < tile->rows; row++)
        memcpy((uint8_t *)out + row * step, tile->bytes[row], (size_t)tile->row_bytes);
}

static inline void emulate_tile_dpbusd(int sums, int a, int b)
{
    struct emulated_tile *c = emulate_tile(sums);
    const struct emulated_tile *ta = emulate_tile(a), *tb = emulate_tile(b);

    if (sums == a || sums == b || a == b)
        emulate_fault("a product of a tile with itself");
    if (c->rows != ta->rows || c->row_bytes != tb->row_bytes || ta->row_bytes != 4 * tb->rows)
        emulate_fault("a product of tiles that do not fit each other");
    for (int row = 0; row < c->rows; row++) {
        int32_t acc[16];

        memcpy(acc, c->bytes[row], sizeof(acc));
        for (int k = 0; k < ta->row_bytes; k++) {
            for (int j = 0; j < c->row_bytes / 4; j++)
                acc[j] += ta->bytes[row][k] * (int8_t)tb->bytes[k / 4][4 * j + k % 4];
        }
        memcpy(c->bytes[row], acc, sizeof(acc));
    }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#define _tile_loadconfig emulate_tile_loadconfig
#define _tile_release emulate_tile_release
#define _tile_zero emulate_tile_zero
#define _tile_loadd emulate_tile_loadd
#define _tile_stored emulate_tile_stored
#define _tile_dpbusd emulate_tile_dpbusd

#endif
