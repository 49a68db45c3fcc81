/* A folder of a test's own, under TMPDIR, that goes with all that is in it. */
#ifndef QD_TESTS_SCRATCH_H
#define QD_TESTS_SCRATCH_H

#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "tests/unit/unit.h"

#define QD_SCRATCH_SIZE 1024

static inline void make_scratch(char folder[QD_SCRATCH_SIZE])
{
    const char *base = getenv("TMPDIR");

    snprintf(folder, QD_SCRATCH_SIZE, "%s/quantd-test-XXXXXX", base && *base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void remove_scratch(char *folder)
{
    char *const paths[] = {folder, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;

    ck_assert_ptr_nonnull(tree);
    while ((entry = fts_read(tree)))
        if (entry->fts_info != FTS_D) /* a folder goes when it is left, empty by then */
            ck_assert_int_eq(remove(entry->fts_accpath), 0);
    fts_close(tree);
}

#endif
