/* Hashes of tensors and the content id: see container_inside.h. */
#include "common/base/json.h"
#include "common/file/container_inside.h"

#include <string.h>

size_t tensor_pieces(size_t size) { return size / CONTAINER_PIECE + (size % CONTAINER_PIECE != 0); }

size_t tensor_piece_size(size_t size, size_t piece)
{
    size_t left = size - piece * CONTAINER_PIECE;
    return left < CONTAINER_PIECE ? left : CONTAINER_PIECE;
}

struct hash128 tensor_digest(const struct hash128 *piece, size_t pieces)
{
    if (pieces == 0)
        return hash_bytes("", 0);
    if (pieces == 1)
        return piece[0];
    struct hash h;
    hash_start(&h);
    for (size_t i = 0; i < pieces; i++) {
        unsigned char stored[16];
        hash_store(piece[i], stored);
        hash_add(&h, stored, sizeof stored);
    }
    return hash_end(&h);
}

int content_id(const cJSON *meta, const struct tensor *tensor, const struct hash128 *digest,
               const int *by_name, int count, struct hash128 *id, struct error *e)
{
    struct buf b = {0};
    struct hash h;
    /* Claims are measured (milliseconds) and may differ between two runs that make the same thing. */
    if (json_write_without(&b, meta, "claims", e) < 0) {
        buf_free(&b);
        return -1;
    }
    hash_start(&h);
    hash_add(&h, b.data, b.size + 1); /* with its NUL: where the tensors begin is unambiguous */
    buf_free(&b);
    for (int i = 0; i < count; i++) {
        const struct tensor *t = &tensor[by_name[i]];
        unsigned char shape[1 + 8 * TENSOR_MAX_RANK] = {(unsigned char)t->rank}, stored[16];
        for (int k = 0; k < t->rank; k++)
            put64(shape + 1 + 8 * k, (uint64_t)t->shape[k]);
        hash_store(digest[by_name[i]], stored);
        hash_add(&h, t->name, strlen(t->name) + 1);
        hash_add(&h, dtype_name(t->dtype), strlen(dtype_name(t->dtype)) + 1);
        hash_add(&h, shape, 1 + 8 * (size_t)t->rank);
        hash_add(&h, stored, sizeof stored);
    }
    *id = hash_end(&h);
    return 0;
}

int container_set_id(struct container *c, struct error *e)
{
    struct container_inside *in = c->inside;
    struct hash128 id;
    if (in->id[0])
        return 0;
    for (int i = 0; i < c->count; i++)
        if (!in->known[i])
            return 0;
    if (content_id(c->meta, c->tensor, in->digest, in->by_name, c->count, &id, e) < 0)
        return -1;
    hash_hex(id, in->id);
    return 0;
}
