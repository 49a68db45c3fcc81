/* SHA-256 of content: names cache entries and orders image sets. */
#ifndef QD_UTIL_HASH_H
#define QD_UTIL_HASH_H

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

#define QD_HASH_SIZE 32
#define QD_HASH_HEX_SIZE 65 /* 64 digits and a zero byte */

struct qd_hash {
    uint8_t bytes[QD_HASH_SIZE];
};

/* An incremental hash: init, add any number of times, finish once. */
struct qd_hasher {
    struct sha256_ctx state;
};

void qd_hasher_init(struct qd_hasher *hasher);
void qd_hasher_add(struct qd_hasher *hasher, const void *bytes, size_t size);
struct qd_hash qd_hasher_finish(struct qd_hasher *hasher);

struct qd_hash qd_hash_of(const void *bytes, size_t size);
void qd_hash_hex(const struct qd_hash *hash, char ret_hex[QD_HASH_HEX_SIZE]);

#endif
