/* See library.h. */
#include "kernels/cuda/library.h"
#include "kernels/cuda/launch_inside.h"

enum { CHUNK = 32, EVEN = 8 }; /* of bfloat16: a chunk of pack.c, and 16 bytes */

/* What a product is by its sizes alone. Rows of images that lie apart would be one product each. */
static int is_plain(const struct matmul *m)
{
    const struct mm_source *s = &m->source[0];
    int64_t rows = (int64_t)s->height * s->width;
    return m->bf16 && m->form == MM_NATIVE && m->sources == 1 && m->kernel_h == 1 && m->kernel_w == 1 &&
           m->stride == 1 && m->pad_top == 0 && m->pad_left == 0 && s->upsample <= 1 && s->ld % EVEN == 0 &&
           s->channels % EVEN == 0 && m->n % EVEN == 0 && rows == (int64_t)m->out_height * m->out_width &&
           s->image_ld == rows * s->ld;
}

size_t cuda_library_scratch(const struct matmul *m)
{
    size_t sums = (size_t)rows_of(m) * (size_t)m->n * sizeof(float);
    return is_plain(m) ? sums + CUDA_LIBRARY_WORKSPACE + CUDA_LIBRARY_ALIGNED : 0;
}

/* Does the library's epilogue do all that m's has? */
static int is_whole(const struct matmul *m)
{
    const struct mm_epilogue *e = &m->epilogue;
    if (!has_plain_epilogue(e) || (m->out && m->out_bf16))
        return 0;
    return m->out_bf16 ? (e->act == ACT_NONE || e->act == ACT_GELU_TANH) && m->out_bf16_ld % EVEN == 0 &&
                             is_aligned(m->out_bf16)
                       : e->act == ACT_NONE && m->out_ld % 4 == 0 && is_aligned(m->out);
}

int cuda_library_product(const struct matmul *m, const uint16_t *half_bias, enum cuda_way way,
                         struct cuda_product *p, struct cuda_launches *after)
{
    const struct mm_source *s = &m->source[0];
    after->count = 0;
    if (!is_plain(m) || !is_aligned(s->data) || !is_aligned(m->weights) ||
        (way == CUDA_WHOLE && !is_whole(m)))
        return 0;
    char *scratch = scratch_of(m);
    *p = (struct cuda_product){.rows = rows_of(m),
                               .n = m->n,
                               .k = (int)s->channels,
                               .in = s->data,
                               .weights = m->weights,
                               .in_ld = s->ld,
                               .weights_ld = divide_up(s->channels, CHUNK) * CHUNK,
                               .workspace = scratch};
    if (way == CUDA_WHOLE) {
        p->out_bf16 = m->out_bf16 != NULL;
        p->out = p->out_bf16 ? (void *)m->out_bf16 : m->out;
        p->out_ld = p->out_bf16 ? m->out_bf16_ld : m->out_ld;
        p->gelu = m->epilogue.act == ACT_GELU_TANH;
        p->bias = p->out_bf16 ? (const void *)half_bias : m->epilogue.bias;
        return 1;
    }
    p->out = scratch + CUDA_LIBRARY_WORKSPACE;
    p->out_ld = m->n;
    finish_sums(m, p->out, NULL, after);
    return 1;
}
