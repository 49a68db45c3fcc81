#include "kernel/tiers.h"
#include "kernel/tiles_amx.h"

/* Six products that do not wait for each other. */
#define N_SUMS 6

int64_t qd_peak_amx(int64_t iterations, int32_t *sink)
{
    uint8_t tile[QD_TILE_ROWS][QD_TILE_BYTES] __attribute__((aligned(64)));

    for (int i = 0; i < (int)sizeof(tile); i++)
        tile[i / QD_TILE_BYTES][i % QD_TILE_BYTES] = (uint8_t)(i * 151 + i / 7); /* zeros would be faster */
    qd_tiles_begin();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    qd_tiles_see_memory(tile);
    _tile_loadd(6, tile, QD_TILE_BYTES);
    _tile_loadd(7, tile, QD_TILE_BYTES);
    for (int64_t n = 0; n < iterations; n++) {
        _tile_dpbusd(0, 6, 7);
        _tile_dpbusd(1, 6, 7);
        _tile_dpbusd(2, 6, 7);
        _tile_dpbusd(3, 6, 7);
        _tile_dpbusd(4, 6, 7);
        _tile_dpbusd(5, 6, 7);
    }
    _tile_stored(0, tile, QD_TILE_BYTES);
    _tile_release();
    memcpy(sink, tile, sizeof(*sink));
    return iterations * N_SUMS * QD_TILE_ROWS * QD_TILE_BYTES * 16;
}
