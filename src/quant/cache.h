/*
 * The scale cache: one JSON file per key in a folder. The key is the SHA-256 of everything that the scales depend on, so
 * an entry is right or absent; a checksum guards its bytes. Replicas may share the folder.
 */
#ifndef QD_QUANT_CACHE_H
#define QD_QUANT_CACHE_H

#include "quant/calibrate.h"
#include "util/hash.h"

/* What the scales of a model depend on. */
struct qd_cache_key {
    struct qd_hash model;   /* of its bytes */
    const struct qd_preprocess *preprocess;
    const struct qd_image_file *const *files; /* calibration and gate, in hash order */
    size_t n_files;
    const struct qd_method *method;
    const struct qd_calibration_form *form;
    unsigned skipped_stages;
    double min_agreement, min_sqnr_db; /* of the gate: the fallback goes by them */
    const char *settings;   /* everything else, as text: per-layer precisions ... */
};

void qd_cache_key_hex(const struct qd_cache_key *key, char ret_hex[QD_HASH_HEX_SIZE]);

/* QD_NOT_FOUND: no entry. QD_INVALID and others: an entry that is damaged or foreign; the text says how. */
enum qd_status qd_cache_load(const char *folder, const char *key_hex, struct qd_scales **ret, struct qd_error *err);

/* Makes the folder if needed; writes a temporary file and renames it. */
enum qd_status qd_cache_save(const char *folder, const char *key_hex, const struct qd_scales *scales,
                             struct qd_error *err);

/* Takes away the temporary files of writers that were killed: those that have been there for an hour. */
void qd_cache_tidy(const char *folder);

/* What guards an entry: the same for the same scales, whether just made or read back. QD_NO_MEMORY. */
enum qd_status qd_cache_checksum(const struct qd_scales *scales, char ret_hex[QD_HASH_HEX_SIZE], struct qd_error *err);

#endif
