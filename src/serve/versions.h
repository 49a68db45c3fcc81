/*
 * What lies in a model repository: names of models, their version folders, and whether their files changed. Reads the
 * file system, keeps nothing; any thread.
 */
#ifndef QD_SERVE_VERSIONS_H
#define QD_SERVE_VERSIONS_H

#include <stdbool.h>

#include "util/hash.h"
#include "util/status.h"

#define QD_MAX_VERSIONS 64

/* The number that a version folder's name is (1 .. 999999999, no leading zero), or 0. */
int qd_version_of(const char *name);

/* The numeric sub-folders that hold model.onnx, highest first, the highest QD_MAX_VERSIONS of them. Returns how many.
 */
int qd_versions_list(const char *folder, int ret_versions[QD_MAX_VERSIONS]);

/*
 * A name that a model may have: one folder's, not hidden, UTF-8 without control characters, shorter than
 * QD_MODEL_NAME_SIZE. QD_INVALID says what it is not.
 */
enum qd_status qd_model_name_check(const char *name, struct qd_error *err);

/* model.json, or a version folder with model.onnx. */
bool qd_is_model_folder(const char *path);

/* Changes when a file directly in the model's folder or in that of the version does: by name, size, time and inode. */
struct qd_hash qd_version_fingerprint(const char *folder, int version);

#endif
