/*
 * The convolution with AMX: tdpbusd multiplies 16 pixels by 64 steps of k by 16 columns. What is too small for tiles is
 * conv_vnni.c's.
 *
 * Packed weights: conv_vnni.c's panels, of 32 columns, which both read; each panel is followed by zeros up to a
 * multiple of 64 steps of k, so that what A's tile holds past the last run meets zeros. In a panel of v vectors of 16
 * columns, a tile of weights is 16 rows of 64 bytes, v * 64 bytes apart.
 *
 * A's tiles are loaded straight from the tensor where 16 pixels lie one step apart: rows of output with a few pixels
 * between them, the padding of the input, are walked through as one, and what was computed between them is left where
 * it is. Else, and where runs are no multiple of 64, the rows of A are copied together in chunks.
 *
 * Shapes: one block of 16 pixels by up to four vectors of columns while the panel stays in L1, else two blocks by two
 * vectors, which loads less. The sums of one shape become bytes between the steps of the next: one unit multiplies
 * while the others requantise.
 */
#include "kernel/tiers.h"

#include <string.h>

#include "kernel/pixels.h"
#include "kernel/requant_vnni.h"
#include "kernel/tiles_amx.h"

#define MIN_M 8                   /* fewer pixels leave most of a tile empty */
#define MAX_BLOCKS 32             /* blocks of 16 pixels that share a pass over the weights */
#define GATHER_BYTES (128 * 1024) /* of A copied together */
#define SMALL_STEPS 8             /* of 64: a panel of these stays in L1 */
#define WASTE_PERCENT 15          /* of computed pixels that are none */

#define VNNI_PANEL 32 /* conv_vnni.c's; two make one of QD_CONV_PANEL */

typedef int32_t sums_row[QD_CONV_PANEL];

/* A pixel that leaves the kernel. at: its row in the sums of a pair of blocks. */
struct row {
    void *out; /* channel 0's byte or float */
    const uint8_t *residual;
    int at;
};

/* Blocks of 16 rows of A, each row step bytes from the one before; run r lies at run_offset[r], run_steps of 64 bytes.
 */
struct chunk {
    const ptrdiff_t *run_offset;
    int n_runs, run_steps;
    ptrdiff_t step;
    int n_blocks;
    const uint8_t *a[MAX_BLOCKS];
    int first[MAX_BLOCKS + 1]; /* of the block's rows; each pixel is the row of one block */
    struct row rows[MAX_BLOCKS * QD_TILE_ROWS];
};

/* Sums that wait for becoming bytes. */
struct pending {
    void (*finish)(struct pending *pending, int n_rows);
    const struct qd_conv_params *p;
    const struct qd_requant_vnni *r;
    const sums_row *sums;
    const struct row *row;
    int left, per_step;
    int n0, n;
};

struct work {
    const struct qd_conv_params *p;
    struct chunk chunk;
    struct pending pending;
    int turn; /* which sums come next */
    sums_row sums[2][2 * QD_TILE_ROWS] __attribute__((aligned(64)));
    uint8_t gathered[GATHER_BYTES + QD_KERNEL_SLACK] __attribute__((aligned(64)));
};

static int quads(int run_k)
{
    return (run_k + 3) / 4;
}

static int all_steps(int n_runs, int run_k)
{
    return (n_runs * quads(run_k) + 15) / 16;
}

static int at_most(int value, int limit)
{
    return value < limit ? value : limit;
}

static int vectors_of(int n)
{
    return n >= QD_CONV_PANEL ? 4 : (n + 15) / 16;
}

/* The panel that begins with column n0, a multiple of VNNI_PANEL. */
static size_t panel_offset(int n0, int n_runs, int run_k)
{
    return (size_t)n0 * QD_TILE_BYTES * (size_t)all_steps(n_runs, run_k);
}

size_t qd_conv_pack_size_amx(int n, int n_runs, int run_k)
{
    return panel_offset((n + 15) / 16 * 16, n_runs, run_k) + QD_KERNEL_SLACK;
}

void qd_conv_pack_amx(void *packed, const int8_t *w, int n, int n_runs, int run_k)
{
    memset(packed, 0, qd_conv_pack_size_amx(n, n_runs, run_k));
    for (int n0 = 0; n0 < n; n0 += VNNI_PANEL)
        qd_conv_pack_vnni((int8_t *)packed + panel_offset(n0, n_runs, run_k), w + (ptrdiff_t)n0 * n_runs * run_k,
                          at_most(n - n0, VNNI_PANEL), n_runs, run_k);
}

/*
 * The pixels from number i on. Panel by panel: each lies where conv_vnni.c looks for it once the zeros before it are
 * skipped.
 */
static void run_vnni(const struct qd_conv_params *p, int i)
{
    struct qd_conv_params one = *p;

    one.first += i;
    one.m -= i;
    if (p->out_f32)
        one.out_f32 += (ptrdiff_t)i * p->n;
    for (int n0 = p->n_begin; n0 < p->n_end; n0 += VNNI_PANEL) {
        size_t looked_for = qd_conv_pack_size_vnni(n0, p->n_runs, p->run_k) - QD_KERNEL_SLACK;

        one.weights = (const int8_t *)p->weights + (panel_offset(n0, p->n_runs, p->run_k) - looked_for);
        one.n_begin = n0;
        one.n_end = at_most(p->n_end, n0 + VNNI_PANEL);
        qd_conv_vnni(&one);
    }
}

/* Columns in order to bytes: the packs work in each 128-bit lane, which ends with four bytes of each vector. */
ALWAYS_INLINE_VNNI __m512i pack_bytes(const struct qd_requant_vnni *r, const __m512i v[4])
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));

    return qd_clamp_vnni(r, _mm512_permutexvar_epi32(order, bytes));
}

ALWAYS_INLINE_VNNI void finish(struct pending *pending, int n_rows, const bool linear, const bool residual,
                               const int vectors)
{
    struct qd_requant_vnni r = *pending->r;
    const struct qd_requant *requant = pending->p->requant;
    const float *mult = requant->mult + pending->n0, *offset = requant->offset + pending->n0;
    const float *slope = requant->slope + pending->n0;
    const __mmask64 mask = qd_mask64_vnni(pending->n);
    const struct row *row = pending->row;

    if (linear)
        r.act = QD_REQUANT_LINEAR;
    for (const struct row *end = row + n_rows; row < end; row++) {
        const int32_t *sums = pending->sums[row->at];
        __m512i v[4];

#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            __m512i bytes = _mm512_setzero_si512();

            v[j] = j > 0 ? v[0] : bytes;
            if (j >= vectors)
                continue;
            if (residual)
                bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(row->residual + pending->n0 + 16 * j)));
            v[j] = qd_requant_ints_vnni(&r, _mm512_loadu_si512(sums + 16 * j), _mm512_loadu_ps(mult + 16 * j),
                                        _mm512_loadu_ps(offset + 16 * j), _mm512_loadu_ps(slope + 16 * j), residual,
                                        bytes);
        }
        _mm512_mask_storeu_epi8((uint8_t *)row->out + pending->n0, mask, pack_bytes(&r, v));
    }
}

static void finish_linear(struct pending *pending, int n_rows)
{
    finish(pending, n_rows, true, false, 4);
}

static void finish_linear_with_residual(struct pending *pending, int n_rows)
{
    finish(pending, n_rows, true, true, 4);
}

static void finish_any(struct pending *pending, int n_rows)
{
    if (pending->p->residual)
        finish(pending, n_rows, false, true, vectors_of(pending->n));
    else
        finish(pending, n_rows, false, false, vectors_of(pending->n));
}

static void finish_f32(struct pending *pending, int n_rows)
{
    const struct qd_requant *requant = pending->p->requant;

    for (int i = 0; i < n_rows; i++) {
        float *out = (float *)pending->row[i].out + pending->n0;

        for (int j = 0; j < pending->n; j += 16) {
            __mmask16 mask = qd_mask16_vnni(pending->n - j);
            __m512 mult = _mm512_maskz_loadu_ps(mask, requant->mult + pending->n0 + j);
            __m512 offset = _mm512_maskz_loadu_ps(mask, requant->offset + pending->n0 + j);
            __m512i sums = _mm512_loadu_si512(pending->sums[pending->row[i].at] + j);

            _mm512_mask_storeu_ps(out + j, mask, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), mult, offset));
        }
    }
}

static void finish_some(struct pending *pending, int n_rows)
{
    if (n_rows > pending->left)
        n_rows = pending->left;
    if (n_rows == 0)
        return;
    pending->finish(pending, n_rows);
    pending->row += n_rows;
    pending->left -= n_rows;
}

/* The rows of the pair's blocks from block on. */
static void put_off(struct work *work, int block, int n_blocks, int n0, int n)
{
    const struct qd_conv_params *p = work->p;
    struct pending *pending = &work->pending;

    pending->sums = work->sums[work->turn];
    pending->row = work->chunk.rows + work->chunk.first[block];
    pending->left = work->chunk.first[block + n_blocks] - work->chunk.first[block];
    pending->n0 = n0;
    pending->n = n;
    if (p->out_f32)
        pending->finish = finish_f32;
    else if (p->requant->act != QD_REQUANT_LINEAR || vectors_of(n) < 4)
        pending->finish = finish_any;
    else
        pending->finish = p->residual ? finish_linear_with_residual : finish_linear;
    work->turn ^= 1;
}

/* 16 pixels by vectors times 16 columns: those of a panel, and of the next one. Tiles 0 .. 3 sum, 4 is A's, 5 .. 7 the
 * weights'.
 */
ALWAYS_INLINE_VNNI void multiply_one(const struct chunk *chunk, const uint8_t *a, const int8_t *weights,
                                     const int8_t *next, sums_row *sums, struct pending *pending, const int vectors)
{
    const size_t step = (vectors > 1 ? 2 : 1) * QD_TILE_BYTES, next_step = (vectors > 3 ? 2 : 1) * QD_TILE_BYTES;

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int run = 0; run < chunk->n_runs; run++) {
        const uint8_t *at = a + chunk->run_offset[run];

        for (int i = 0; i < chunk->run_steps; i++, at += QD_TILE_BYTES, weights += QD_TILE_ROWS * step) {
            _tile_loadd(4, at, chunk->step);
            _tile_loadd(5, weights, step);
            _tile_dpbusd(0, 4, 5);
            if (vectors > 1) {
                _tile_loadd(6, weights + 64, step);
                _tile_dpbusd(1, 4, 6);
            }
            if (vectors > 2) {
                _tile_loadd(7, next, next_step);
                _tile_dpbusd(2, 4, 7);
            }
            if (vectors > 3) {
                _tile_loadd(5, next + 64, next_step);
                _tile_dpbusd(3, 4, 5);
            }
            next += QD_TILE_ROWS * next_step;
            finish_some(pending, pending->per_step);
        }
    }
    _tile_stored(0, sums[0], sizeof(sums_row));
    if (vectors > 1)
        _tile_stored(1, sums[0] + 16, sizeof(sums_row));
    if (vectors > 2)
        _tile_stored(2, sums[0] + 32, sizeof(sums_row));
    if (vectors > 3)
        _tile_stored(3, sums[0] + 48, sizeof(sums_row));
}

/*
 * Twice 16 pixels by a panel's one or two vectors of 16 columns. Tiles 0 .. 3 sum, 4 and 5 are A's, 6
 * and 7 the weights'.
 */
ALWAYS_INLINE_VNNI void multiply_two(const struct chunk *chunk, const uint8_t *const a[2], const int8_t *weights,
                                     int32_t *sums, struct pending *pending, const int vectors)
{
    const size_t weights_step = (size_t)vectors * QD_TILE_BYTES;

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int run = 0; run < chunk->n_runs; run++) {
        const uint8_t *at0 = a[0] + chunk->run_offset[run], *at1 = a[1] + chunk->run_offset[run];

        for (int i = 0; i < chunk->run_steps; i++, weights += QD_TILE_ROWS * weights_step) {
            _tile_loadd(4, at0 + i * QD_TILE_BYTES, chunk->step);
            _tile_loadd(6, weights, weights_step);
            _tile_dpbusd(0, 4, 6);
            if (vectors > 1) {
                _tile_loadd(7, weights + 64, weights_step);
                _tile_dpbusd(1, 4, 7);
            }
            _tile_loadd(5, at1 + i * QD_TILE_BYTES, chunk->step);
            _tile_dpbusd(2, 5, 6);
            if (vectors > 1)
                _tile_dpbusd(3, 5, 7);
            finish_some(pending, pending->per_step);
        }
    }
    _tile_stored(0, sums, sizeof(sums_row));
    _tile_stored(2, sums + QD_TILE_ROWS * QD_CONV_PANEL, sizeof(sums_row));
    if (vectors > 1) {
        _tile_stored(1, sums + 16, sizeof(sums_row));
        _tile_stored(3, sums + QD_TILE_ROWS * QD_CONV_PANEL + 16, sizeof(sums_row));
    }
}

/* weights: of the panel, and of the one after it. */
static void multiply_block(struct work *work, int block, const int8_t *const weights[2], int vectors)
{
    const struct chunk *chunk = &work->chunk;
    sums_row *sums = work->sums[work->turn] + block % 2 * QD_TILE_ROWS;

    if (vectors == 4)
        multiply_one(chunk, chunk->a[block], weights[0], weights[1], sums, &work->pending, 4);
    else if (vectors == 3)
        multiply_one(chunk, chunk->a[block], weights[0], weights[1], sums, &work->pending, 3);
    else if (vectors == 2)
        multiply_one(chunk, chunk->a[block], weights[0], weights[1], sums, &work->pending, 2);
    else
        multiply_one(chunk, chunk->a[block], weights[0], weights[1], sums, &work->pending, 1);
}

static void multiply_pair(struct work *work, int block, const int8_t *const weights[2], int vectors)
{
    const struct chunk *chunk = &work->chunk;
    int32_t *sums = work->sums[work->turn][0];

    for (int v = 0; v < vectors; v += 2) {
        if (vectors - v > 1)
            multiply_two(chunk, &chunk->a[block], weights[v / 2], sums + v * 16, &work->pending, 2);
        else
            multiply_two(chunk, &chunk->a[block], weights[v / 2], sums + v * 16, &work->pending, 1);
    }
}

static void multiply_panel(struct work *work, int n0, int n)
{
    const struct qd_conv_params *p = work->p;
    const int8_t *panel = (const int8_t *)p->weights + panel_offset(n0, p->n_runs, p->run_k);
    int n_steps = work->chunk.n_runs * work->chunk.run_steps, vectors = vectors_of(p->n - n0), n_blocks;
    /* Where there is no second panel, any address will do. */
    const int8_t *weights[2] = {panel, vectors > 2 ? panel + panel_offset(VNNI_PANEL, p->n_runs, p->run_k) : panel};
    bool pairs = vectors < 3 || (vectors == 4 && n_steps > SMALL_STEPS);

    for (int block = 0; block < work->chunk.n_blocks; block += n_blocks) {
        work->pending.per_step = (work->pending.left + n_steps - 1) / n_steps;
        n_blocks = pairs && block + 1 < work->chunk.n_blocks ? 2 : 1;
        if (n_blocks == 2)
            multiply_pair(work, block, weights, vectors);
        else
            multiply_block(work, block, weights, vectors);
        finish_some(&work->pending, work->pending.left);
        put_off(work, block, n_blocks, n0, n);
    }
}

/*
 * n pixels that follow each other in a row of output, from pixel number i of the call on, leave from the rows of sums
 * from at on.
 */
static void set_rows(const struct qd_conv_params *p, struct qd_pixel pixel, int64_t i, int at, int n, struct row *rows)
{
    uint8_t *out = p->out ? p->out + qd_pixel_offset(&p->out_steps, pixel) : (uint8_t *)(p->out_f32 + i * p->n);
    ptrdiff_t out_step = p->out ? p->out_steps.x : p->n * (ptrdiff_t)sizeof(float);
    const uint8_t *residual = p->residual ? p->residual + qd_pixel_offset(&p->residual_steps, pixel) : NULL;
    ptrdiff_t residual_step = p->residual ? p->residual_steps.x : 0;

    for (int j = 0; j < n; j++, out += out_step) {
        rows[j] = (struct row){.out = out, .residual = residual, .at = at + j};
        if (residual)
            residual += residual_step;
    }
}

/* Moves on by n pixels, at most to the next row of output. */
static void move_on(const struct qd_conv_params *p, struct qd_pixel *pixel, int n)
{
    pixel->x += n - 1;
    qd_pixel_next(p, pixel);
}

/* Bytes between successive pixels, if all that follow in memory are whole multiples of them apart; else 0. */
static ptrdiff_t step_of_pixels(const struct qd_conv_params *p)
{
    const struct qd_steps *in = &p->in_steps;
    ptrdiff_t step = p->out_w > 1 ? in->x : p->out_h > 1 ? in->y : in->image;

    if (step <= 0 || (p->n_runs > 1 && p->run_k % QD_TILE_BYTES != 0))
        return 0;
    if (p->out_w > 1 && p->out_h > 1 && (in->y % step != 0 || in->y < p->out_w * step))
        return 0;
    /* One image needs no step to the next, and may have none. */
    if (qd_pixel_at(p, p->first).image != qd_pixel_at(p, p->first + p->m - 1).image &&
        (in->image % step != 0 || in->image < (p->out_h - 1) * in->y + p->out_w * step))
        return 0;
    return step;
}

static void begin_block(struct chunk *chunk, const uint8_t *a, int first)
{
    chunk->a[chunk->n_blocks] = a;
    chunk->first[chunk->n_blocks++] = first;
}

/*
 * Blocks straight from the tensor, of the pixels from number i on; returns how many, 0 where too much would be computed
 * for nothing. No tile reaches past the call's last pixel: the last block begins before its first pixel if need be.
 */
static int take_straight(struct work *work, int i, struct qd_pixel pixel)
{
    const struct qd_conv_params *p = work->p;
    struct chunk *chunk = &work->chunk;
    const ptrdiff_t reach = chunk->step * (QD_TILE_ROWS - 1);
    const uint8_t *last = p->in + qd_pixel_offset(&p->in_steps, qd_pixel_at(p, p->first + p->m - 1));
    int n = 0, span;

    if (last - (p->in + qd_pixel_offset(&p->in_steps, qd_pixel_at(p, p->first))) < reach)
        return 0;
    chunk->n_blocks = 0;
    for (; i + n < p->m; n += span) {
        const uint8_t *in = p->in + qd_pixel_offset(&p->in_steps, pixel);
        ptrdiff_t at = chunk->n_blocks > 0 ? (in - chunk->a[chunk->n_blocks - 1]) / chunk->step : QD_TILE_ROWS;

        if (at >= QD_TILE_ROWS) {
            const uint8_t *a = last - in < reach ? last - reach : in;

            if (chunk->n_blocks == MAX_BLOCKS)
                break;
            begin_block(chunk, a, n);
            at = (in - a) / chunk->step;
        }
        span = at_most(at_most(p->out_w - pixel.x, QD_TILE_ROWS - (int)at), p->m - i - n);
        set_rows(p, pixel, i + n, (chunk->n_blocks - 1) % 2 * QD_TILE_ROWS + (int)at, span, chunk->rows + n);
        move_on(p, &pixel, span);
    }
    chunk->first[chunk->n_blocks] = n;
    if ((chunk->n_blocks - 1) * QD_TILE_ROWS * 100 > n * (100 + WASTE_PERCENT))
        return 0;
    return n;
}

/* One row of A: its runs one after the other, each rounded up to a multiple of 4. Writes up to 63 bytes past it. */
static void gather_row(const struct qd_conv_params *p, const uint8_t *in, uint8_t *out)
{
    int run_bytes = 4 * quads(p->run_k);

    for (int run = 0; run < p->n_runs; run++, out += run_bytes) {
        for (int i = 0; i < run_bytes; i += 64)
            _mm512_storeu_si512(out + i, _mm512_loadu_si512(in + p->run_offset[run] + i));
    }
}

/* An odd number of lines, lest the rows share cache sets. */
static ptrdiff_t gathered_step(const struct qd_conv_params *p)
{
    return (ptrdiff_t)(all_steps(p->n_runs, p->run_k) | 1) * QD_TILE_BYTES;
}

/* Blocks of pixels that are copied together; what their last one lacks of 16 rows is what lay there. */
static int take_gathered(struct work *work, int i, struct qd_pixel pixel)
{
    const struct qd_conv_params *p = work->p;
    struct chunk *chunk = &work->chunk;
    int most = (int)(GATHER_BYTES / (chunk->step * QD_TILE_ROWS)), n = 0;

    most = at_most(most, MAX_BLOCKS) * QD_TILE_ROWS;
    chunk->n_blocks = 0;
    for (; n < most && i + n < p->m; n++) {
        uint8_t *a = work->gathered + n * chunk->step;

        gather_row(p, p->in + qd_pixel_offset(&p->in_steps, pixel), a);
        if (n % QD_TILE_ROWS == 0)
            begin_block(chunk, a, n);
        set_rows(p, pixel, i + n, n % (2 * QD_TILE_ROWS), 1, chunk->rows + n);
        qd_pixel_next(p, &pixel);
    }
    chunk->first[chunk->n_blocks] = n;
    qd_tiles_see_memory(work->gathered);
    return n;
}

static void set_straight(const struct qd_conv_params *p, ptrdiff_t step, struct chunk *chunk)
{
    chunk->run_offset = p->run_offset;
    chunk->n_runs = p->n_runs;
    chunk->run_steps = (p->run_k + QD_TILE_BYTES - 1) / QD_TILE_BYTES;
    chunk->step = step;
}

static void set_gathered(const struct qd_conv_params *p, struct chunk *chunk)
{
    static const ptrdiff_t no_offset = 0;

    chunk->run_offset = &no_offset;
    chunk->n_runs = 1;
    chunk->run_steps = all_steps(p->n_runs, p->run_k);
    chunk->step = gathered_step(p);
}

static void run_tiles(struct work *work, ptrdiff_t step)
{
    const struct qd_conv_params *p = work->p;
    bool straight = step > 0;
    int n = 0;

    if (straight)
        set_straight(p, step, &work->chunk);
    for (int i = 0; i < p->m; i += n) {
        struct qd_pixel pixel = qd_pixel_at(p, p->first + i);

        if (straight)
            n = take_straight(work, i, pixel);
        if (straight && n == 0)
            straight = false;
        if (!straight && gathered_step(p) * QD_TILE_ROWS > GATHER_BYTES) {
            run_vnni(p, i);
            return;
        }
        if (!straight) {
            set_gathered(p, &work->chunk);
            n = take_gathered(work, i, pixel);
        }
        for (int n0 = p->n_begin; n0 < p->n_end; n0 += QD_CONV_PANEL)
            multiply_panel(work, n0, at_most(p->n_end - n0, QD_CONV_PANEL));
        finish_some(&work->pending, work->pending.left);
    }
}

void qd_conv_amx(const struct qd_conv_params *params)
{
    const struct qd_conv_params *p = params;
    const struct qd_requant_vnni r = qd_requant_vnni_of(p->requant);
    struct work work;

    if (p->m < MIN_M) {
        run_vnni(p, 0);
        return;
    }
    work.p = p;
    work.pending = (struct pending){.p = p, .r = &r};
    work.turn = 0;
    qd_tiles_begin();
    run_tiles(&work, step_of_pixels(p));
    _tile_release();
}
