#include "util/hash.h"

#include <string.h>

void qd_hasher_init(struct qd_hasher *hasher)
{
    sha256_init(&hasher->state);
}

void qd_hasher_add(struct qd_hasher *hasher, const void *bytes, size_t size)
{
    sha256_update(&hasher->state, size, bytes);
}

struct qd_hash qd_hasher_finish(struct qd_hasher *hasher)
{
    struct qd_hash hash;

    sha256_digest(&hasher->state, QD_HASH_SIZE, hash.bytes);
    return hash;
}

struct qd_hash qd_hash_of(const void *bytes, size_t size)
{
    struct qd_hasher hasher;

    qd_hasher_init(&hasher);
    qd_hasher_add(&hasher, bytes, size);
    return qd_hasher_finish(&hasher);
}

void qd_hash_hex(const struct qd_hash *hash, char ret_hex[QD_HASH_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < QD_HASH_SIZE; i++) {
        ret_hex[2 * i] = digits[hash->bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash->bytes[i] & 15];
    }
    ret_hex[2 * QD_HASH_SIZE] = 0;
}
