/*
 * AMX's tile registers, all eight of them 16 rows of 64 bytes: a tile of activations is 16 pixels by 64 steps of k, one
 * of weights 64 steps of k by 16 columns, one of sums 16 pixels by 16 columns. Static inline only.
 */
#ifndef QD_KERNEL_TILES_AMX_H
#define QD_KERNEL_TILES_AMX_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define QD_TILE_ROWS 16
#define QD_TILE_BYTES 64 /* of a row */

/* As ldtilecfg reads it: Intel's manual, volume 1, 18.3. */
struct qd_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/*
 * gcc 12's intrinsics do not say what they read from memory: whatever was written to what memory points to has to be
 * written by now.
 */
static inline void qd_tiles_see_memory(const void *memory)
{
    __asm__ volatile("" ::"r"(memory) : "memory");
}

/* Of this thread, until _tile_release. */
static inline void qd_tiles_begin(void)
{
    struct qd_tile_config config __attribute__((aligned(64)));

    memset(&config, 0, sizeof(config));
    config.palette = 1;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = QD_TILE_BYTES;
        config.rows[i] = QD_TILE_ROWS;
    }
    qd_tiles_see_memory(&config);
    _tile_loadconfig(&config);
}

#endif
