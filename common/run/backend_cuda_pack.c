/* Weights in the layout of the device. What the kernels do not decode is decoded here: four-bit codes to the
 * int8 numbers that they stand for, weights of float products to floats with their scale. */
#include "common/base/mem.h"
#include "common/graph/ops.h"
#include "common/run/backend_cuda_inside.h"
#include "kernels/cuda/launch.h"

/* Weight i of output row n before its column scale: int8, e4m3, or a four-bit code's clipped integer. */
static float weight_at(const struct node *n, const struct tensor *t, const struct tensor *rel,
                       const struct tensor *levels, int64_t row, int64_t i)
{
    if (!node_is_int4(n)) {
        int64_t at = row * (int64_t)(t->count / (size_t)t->shape[0]) + i;
        return t->dtype == DTYPE_I8 ? ((const int8_t *)t->data)[at] : mm_e4m3(((const uint8_t *)t->data)[at]);
    }
    int64_t channels = 2 * t->shape[1], group = channels / rel->shape[1];
    int pair = ((const uint8_t *)t->data)[(row * channels + i) / 2];
    return (float)mm_int4_value(((const float *)levels->data)[i % 2 ? pair >> 4 : pair & 15],
                                ((const uint8_t *)rel->data)[row * rel->shape[1] + i / group]);
}

struct decode_job {
    const struct node *n;
    int8_t *ints;
    float *floats;
    int64_t per_row;
};

static void decode_part(void *context, int part, int parts)
{
    const struct decode_job *j = context;
    const struct tensor *t = node_weight(j->n, "weight"), *scale = node_weight(j->n, "weight_scale");
    const struct tensor *rel = j->n->tensor[3],
                        *levels = j->n->tensor[3] ? node_weight(j->n, "weight_codebook") : NULL;
    struct span s = team_span(t->shape[0], 1, part, parts);
    for (int64_t row = s.begin; row < s.end; row++)
        for (int64_t i = 0; i < j->per_row; i++) {
            float w = weight_at(j->n, t, rel, levels, row, i);
            if (j->ints)
                j->ints[row * j->per_row + i] = (int8_t)w;
            else
                j->floats[row * j->per_row + i] = w * ((const float *)scale->data)[row];
        }
}

/* float16 fits into a TF32 number, so it is float32 here. */
int cuda_pack_on_host(struct backend *b, struct packed *p, const struct node *n, struct error *e)
{
    const struct tensor *t = node_weight(n, "weight");
    int codes = node_rounds_input(n), half = p->form == MM_BF16, plain = p->form == MM_NATIVE, status = -1;
    const struct cpu_kernels *table = cuda_packing(half ? CUDA_BF16 : CUDA_F32);
    int64_t per_row =
        (int64_t)(p->shape.channels[0] + p->shape.channels[1]) * p->shape.kernel_h * p->shape.kernel_w;
    size_t count = (size_t)p->shape.n * (size_t)per_row;
    p->format = half ? CUDA_BF16 : CUDA_F32;
    p->form = codes ? MM_INT8 : half ? MM_BF16 : MM_NATIVE;
    if (half || (plain && t->dtype == DTYPE_F32))
        return weights_pack_array(table, b->team, p, t->data, 0, e);
    if (codes && !node_is_int4(n))
        return weights_pack_array(table, b->team, p, t->data, 1, e);
    void *array = mem_array(count, codes ? 1 : sizeof(float), e);
    if (!array)
        return -1;
    if (plain) {
        tensor_to_f32(t->dtype, t->data, array, count);
    } else {
        struct decode_job job = {n, codes ? array : NULL, codes ? NULL : array, per_row};
        team_run(b->team, decode_part, &job);
    }
    status = weights_pack_array(table, b->team, p, array, codes, e);
    mem_free(array);
    return status;
}
