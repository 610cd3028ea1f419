/* See dequantize.h. */
#include "common/file/dequantize.h"
#include "common/graph/ops.h"
#include "common/method/rotate.h"
#include "kernels/cpu/cpu.h"

size_t node_weight_count(const struct node *n)
{
    return node_weight(n, "weight")->count * (node_is_int4(n) ? 2 : 1);
}

void node_dequantize(const struct node *n, float *out)
{
    const struct tensor *t = node_weight(n, "weight"), *scale = node_weight(n, "weight_scale");
    size_t count = node_weight_count(n);
    int64_t rows = t->shape[0], columns = (int64_t)count / rows;
    if (node_is_int4(n)) {
        const struct tensor *rel = node_weight(n, "weight_s_rel");
        const uint8_t *codes = t->data, *s = rel->data;
        const float *levels = node_weight(n, "weight_codebook")->data;
        int64_t group = columns / rel->shape[1];
        for (int64_t i = 0; i < (int64_t)count; i++)
            out[i] = (float)mm_int4_value(levels[codes[i / 2] >> i % 2 * 4 & 15], s[i / group]);
    } else {
        tensor_to_f32(t->dtype, t->data, out, count);
    }
    for (int64_t i = 0; scale && i < (int64_t)count; i++)
        out[i] *= ((const float *)scale->data)[i / columns];
    if (node_is(n, "linear"))
        rotate_rows(out, rows, columns, (int)node_attr(n, "rotate"), NULL);
}
