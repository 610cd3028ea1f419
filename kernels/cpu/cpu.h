/* The CPU kernels: arithmetic only. Pointers and sizes in, numbers out; no allocation, no files, no graph.
 *
 *     const struct cpu_kernels *k = cpu_kernels(CPU_BEST);
 *     k->matmul(&mm, part, parts);          // this thread's share; all parts together compute everything
 *
 * Values are channels-last float32: an image is [images][height][width][channels], tokens are
 * [images][tokens][channels] (height 1, width tokens), a vector is [images][channels]. A "row" is one pixel
 * or token. `ld` is the distance between rows in elements.
 *
 * Every kernel is compiled once per level from one .inc file and chosen at run time; level REF is scalar C
 * that accumulates in double where a sum is long, and is what the tests compare the others with.
 *
 * Row invariance: a row's result depends on nothing but that row (and its image): not on how many rows there
 * are, which thread takes it, or where in a tile it lands. Sums run in one fixed order per level. int32 sums
 * are equal at all levels.
 *
 * bfloat16 is a float32 without its low 16 bits, held as uint16_t and rounded to nearest, ties to even
 * (relative 2^-9; NaN stays NaN, and level avx512-bf16 flushes values below FLT_MIN to 0). It is read by
 * products and attention, which sum in float32; what writes values writes it as well as float (out_bf16, with
 * its own ld). */
#ifndef HASTEN_KERNELS_CPU_H
#define HASTEN_KERNELS_CPU_H

#include <stddef.h>
#include <stdint.h>

enum cpu_level { CPU_REF, CPU_AVX2, CPU_AVX512, CPU_AVX512_VNNI, CPU_AVX512_BF16, CPU_LEVELS };

/* The best level that this machine runs; its name ("ref", "avx2", "avx512", "avx512-vnni", "avx512-bf16"). */
enum cpu_level cpu_best_level(void);
const char *cpu_level_name(enum cpu_level level);
/* -1 when there is no such name. A level that exists but cannot run here is above cpu_best_level(). */
int cpu_level_from_name(const char *name);

enum activation { ACT_NONE, ACT_SILU, ACT_GELU_TANH, ACT_GELU_ERF, ACT_RELU, ACT_TANH, ACT_SIGMOID };

/* ---- matrix product, convolution, concatenated input: one kernel ----
 *
 * out[row][n] = epilogue( sum over taps, sources, channels of  in[row shifted by tap][channel] *
 * weight[n][...] )
 *
 * A linear layer is a 1x1 convolution. Rows of the input are found by geometry, so padding (a tap outside
 * reads zeros), stride, nearest upsampling and concatenation along channels cost no copy.
 *
 * int8 form: a source holds uint8 codes with one struct code_scale per image, or per row for a linear layer
 * (scale_per_row: 1x1, stride 1, no padding or upsampling). Padding reads the code of zero. Weights are int8
 * with one float scale per output column. The int32 sum of (code - zero) * weight over each source, modulo
 * 2^32, is scaled by that source's scale, the sources are added in order, then the column scale applies. int8
 * rows are padded to a multiple of 64 codes (ld >= that multiple), whose weights are 0.
 *
 * bf16 form: sources and weights are bfloat16, each source has an even number of channels, sums are float32.
 */
struct code_scale {
    float scale;
    int32_t zero; /* 0..255: x = scale * (code - zero) */
};

struct mm_source {
    const void *data; /* float, uint8 or bfloat16, [images][height][width][ld] */
    int64_t channels; /* read per row */
    int64_t ld;
    int64_t image_ld;  /* elements between images (0: all images share one) */
    int height, width; /* stored grid; the convolution sees it `upsample` times larger */
    int upsample;      /* 1, or 2 for nearest x2 (then height and width below are of the small grid) */
    const struct code_scale *scale; /* int8: [images * height * width] or [images] */
};

struct mm_epilogue {         /* applied in this order; NULL or 0/1 where absent */
    const float *bias;       /* [n] */
    const float *image_bias; /* [images][image_bias_ld]: added per image (a time embedding) */
    int64_t image_bias_ld;
    enum activation act;
    float *tap; /* [rows][tap_ld]: the value at this point is stored here too */
    int64_t tap_ld;
    const float *gate; /* [images][gate_ld]: multiplied per image and column */
    int64_t gate_ld;
    const float *residual; /* [rows][residual_ld]: added */
    int64_t residual_ld;
    float scale; /* multiplied last; 0 means 1 */
};

/* How the weights lie in memory. Compressed ones are decoded, a block of columns at a time, into scratch
 * memory before the product, so that they cost their own bytes and not those of what is multiplied:
 *   MM_NATIVE  as the product reads them: float, int8 with int8 sources, bfloat16 with bfloat16 sources
 *   MM_INT8    int8 (matmul_pack_int8) with float sources: the same bytes serve both
 *   MM_E4M3    float8 e4m3 (packed by matmul_pack_int8 as bytes) with float sources
 *   MM_INT4    4-bit codes (matmul_pack_int4) that decode to int8, with float or int8 sources
 *   MM_BF16    bfloat16 (matmul_pack_bf16) with float sources: the same bytes serve both
 *   MM_WINOGRAD  float, turned (winograd_pack), of a 3x3 kernel of stride 1: 16 products instead of 36, and
 *              16 / 9 of the bytes; scratch holds a block of the turned inputs
 *   MM_WINOGRAD_INT8  int8 turned in the same way, in 32 / 9 of the bytes, for int8 sources, without error;
 *              for float sources it is decoded
 */
enum mm_weights { MM_NATIVE, MM_INT8, MM_E4M3, MM_INT4, MM_BF16, MM_WINOGRAD, MM_WINOGRAD_INT8 };

/* 4-bit weights as on disk: w = column_scale[n] * clip(round(levels[code] * scale of the code's group),
 * +-127). codes: [n][channels/2], the low nibble first; scales: e4m3 [n][channels/group]; group: a multiple
 * of 4 that divides channels. */
struct mm_int4 {
    const uint8_t *codes, *scales;
    const float *levels;
    int n, channels, group;
};
int mm_int4_value(float level, uint8_t scale); /* the clipped integer */
float mm_e4m3(uint8_t code);                   /* NaN codes too */

struct matmul {
    int images, out_height, out_width; /* rows = images * out_height * out_width */
    int n;                             /* output columns */
    int kernel_h, kernel_w, stride, pad_top, pad_left;
    int sources; /* 1 or 2 */
    struct mm_source source[2];
    const void *weights;       /* packed by matmul_pack, matmul_pack_int8, matmul_pack_bf16 */
    const float *column_scale; /* [n]; NULL: 1 (float weights) */
    int int8, scale_per_row;   /* int8: sources hold codes */
    int bf16;                  /* sources hold bfloat16 */
    enum mm_weights form;
    int group;          /* MM_INT4 */
    void *scratch;      /* not MM_NATIVE: matmul_scratch() bytes a part, aligned to 64 */
    size_t scratch_ld;  /* bytes from part to part */
    float *out;         /* NULL: out_bf16 is enough */
    uint16_t *out_bf16; /* NULL: out is enough */
    int64_t out_ld, out_bf16_ld;
    struct mm_epilogue epilogue;
};

/* Do Winograd's products compute it? Else MM_WINOGRAD_INT8 is decoded. */
static inline int mm_is_turned(const struct matmul *m)
{
    return m->form == MM_WINOGRAD || (m->form == MM_WINOGRAD_INT8 && m->int8);
}

/* Packed weights. The layout belongs to a level; channels of the two sources are packed apart (each padded as
 * the level wants), so `channels` gives both counts, 0 for an absent second source. weight is [n][channels0 +
 * channels1][kernel_h][kernel_w], PyTorch's order. */
struct mm_shape {
    int n, kernel_h, kernel_w;
    int channels[2];
};

/* ---- rows and images ---- */

/* y = norm(x) (* weight + bias), then (* (1 + scale[image]) + shift[image]), then * times_act(times): a gate
 * of the same rows (GEGLU: Shazeer 2020). Exactly one of out, out_bf16 and
 * codes is set: codes gets uint8 y / scale + zero, rounded to nearest even and clipped to 0..255, padded with
 * zero to codes_ld. With top = max(y, 0) and low = min(y, 0) of the row, row_scale[row] has scale = top / 255
 * - low / 255 and zero = -low / scale, rounded to nearest even: y = 0 has a code of its own, and what lies on
 * one side of 0, as behind an activation, has all the codes (scale 0: all codes are zero = 0). tap, if set,
 * also gets the float value. norm = 0 skips normalisation (plain quantization of rows when codes is set).
 * Sums in float lanes, mean first, then centred squares. NaN or infinity in a row of y gives a row_scale of
 * NaN (its codes mean nothing then), likewise an image_scale below; a scale below FLT_MIN has codes of 0
 * only. out may be x; tap may not. rotate: 0, or the block (16, 64, 256, dividing channels) of a regular
 * Hadamard rotation (hadamard.inc) that out and codes get, tap not.
 */
struct row_norm {
    const float *x;
    int64_t x_ld;
    int images, rows_per_image, channels;
    int norm, rotate;
    float eps;
    const float *weight, *bias; /* [channels] or NULL */
    const float *scale, *shift; /* [images][mod_ld] or NULL */
    int64_t mod_ld;
    const float *times; /* [rows][times_ld] or NULL */
    int64_t times_ld;
    enum activation times_act;
    float *out, *tap;
    uint16_t *out_bf16; /* not rotated */
    int64_t out_ld, tap_ld, out_bf16_ld;
    uint8_t *codes;
    int64_t codes_ld;
    struct code_scale *row_scale;
};

/* y = group_norm(x) * weight + bias, then (* (1 + scale[image]) + shift[image]), then act, times out_scale.
 * Input is one or two sources side by side along channels (a concatenation that is never made): channels[1] =
 * 0 for one. Groups may straddle the sources. Runs in phases, with a barrier of the team between phases:
 *   phase 0  partial sums of fixed pixel blocks      (parts split images x blocks)
 *   phase 1  mean and 1/std of every image and group (parts split images x groups)
 *   phase 2  apply; with codes set, only the extremes of fixed pixel blocks are taken
 *   phase 3  codes set: image_scale per source half as a row's above, quantize (recomputes y)
 * workspace: group_norm_workspace() floats, aligned to 64 bytes. Output has the same channel order; with
 * codes, code rows of the two halves go to codes[0] and codes[1], each with its own image_scale[half][image].
 * out (or tap, without codes) may be the x of a single source with the same ld. */
enum { GROUP_NORM_BLOCK = 64 }; /* pixels */
struct group_norm {
    const float *x[2];
    int64_t x_ld[2];
    int channels[2];
    int images, pixels, groups;
    float eps;
    const float *weight, *bias; /* [channels0 + channels1] or NULL */
    const float *scale, *shift; /* [images][mod_ld] or NULL */
    int64_t mod_ld;
    enum activation act;
    float *out;
    int64_t out_ld;
    float *tap; /* like out, or NULL */
    int64_t tap_ld;
    uint16_t *out_bf16; /* instead of out and codes */
    int64_t out_bf16_ld;
    uint8_t *codes[2];
    int64_t codes_ld[2];
    struct code_scale *image_scale[2]; /* [images] each */
    float *workspace;
};
size_t group_norm_workspace(const struct group_norm *g);

/* Codes as a row's above with one scale per image: the same in two phases, workspace of 2 * images * blocks
 * floats (blocks of GROUP_NORM_BLOCK rows). */
struct image_quantize {
    const float *x;
    int64_t x_ld;
    int images, rows_per_image, channels;
    uint8_t *codes;
    int64_t codes_ld;
    struct code_scale *image_scale;
    float *workspace;
};

/* out[image][row][head * dim ...] = softmax(q k' * scale) v, softmax and sums in float32, blocked over keys
 * with a running maximum (the score matrix is never in memory). Key blocks are fixed, so results do not
 * depend on the split. q rows of one image may differ in number from k/v rows (cross attention). causal: 1
 * masks keys after the query. image_ld: distance between images in elements. scratch: one float block per
 * part, aligned to 64 bytes. NaN or infinity in a query's scores or in the values gives NaN. out may be q
 * (with the same distances). With q_bf16, k_bf16 and v_bf16 instead of q, k and v, scores are sums of their
 * exact products and weights are rounded to bfloat16 (the sum that divides is of the rounded ones): relative
 * 2^-9 each at most; head_dim must be even and scale above 0. int8_scores allows scores of int8 codes then,
 * with a scale for each query and key, of keys less their mean: off by at most (max|q| sum|k| + max|k|
 * sum|q|) / 254 times scale, about (the reference keeps to exact products); head_dim must be a multiple of 4,
 * 128 at most. Either of out and out_bf16 is written. */
struct attention {
    const float *q, *k, *v;
    const uint16_t *q_bf16, *k_bf16, *v_bf16;
    int64_t q_ld, k_ld, v_ld, q_image_ld, k_image_ld, v_image_ld;
    int images, heads, head_dim, queries, keys;
    int causal, int8_scores;
    float scale;
    float *out;
    uint16_t *out_bf16;
    int64_t out_ld, out_image_ld; /* of the one that is written */
    float *scratch;
    size_t scratch_ld; /* floats per part, from attention_scratch() */
};
size_t attention_scratch(const struct attention *a);

/* y[row][c] = act(x[row][c]); the common elementwise kernels, over `rows` rows. A binary's b operand is
 * per element (b_kind 0), per image [images][b_ld] (1), or one row for all [channels] (2). */
enum binary_kind { BIN_ADD, BIN_SUB, BIN_MUL };
enum operand_kind { PER_ROW, PER_IMAGE, SHARED };
struct elementwise {
    const float *a;
    int64_t a_ld;
    int images, rows_per_image, channels;
    const float *b; /* NULL: unary */
    int64_t b_ld;
    enum operand_kind b_kind;
    enum binary_kind op;
    enum activation act; /* applied to the result */
    float scale;         /* multiplied last; 0 means 1 */
    float *out;          /* this, out_bf16 or both */
    uint16_t *out_bf16;
    int64_t out_ld, out_bf16_ld;
};

/* out[row][c] = a[c] * cache[row][c] + (a2[c] * cache2[row][c] + b[c]), then the same gate, residual and
 * scale as a product's epilogue: a value predicted from what one or two earlier calls stored. cache2 NULL:
 * a * cache + b. a and b NULL as well: plain read. */
struct cache_read {
    const float *cache, *a, *b; /* a, b: [channels] */
    const float *cache2, *a2;   /* an older value, in rows as far apart */
    int64_t cache_ld;
    int images, rows_per_image, channels;
    struct mm_epilogue epilogue; /* bias, act and tap unused */
    float *out;
    int64_t out_ld;
};

struct cpu_kernels {
    enum cpu_level level;
    /* Packed size in bytes, and packing of rows [begin, end) of n: any split gives the same bytes; begin is a
     * multiple of mm_panel or 0. */
    int mm_panel;
    size_t (*matmul_packed_size)(const struct mm_shape *s, int int8);
    void (*matmul_pack)(void *packed, const float *weight, const struct mm_shape *s, int begin, int end);
    void (*matmul_pack_int8)(void *packed, const int8_t *weight, const struct mm_shape *s, int begin,
                             int end);
    size_t (*matmul_bf16_size)(const struct mm_shape *s);
    void (*matmul_pack_bf16)(void *packed, const uint16_t *weight, const struct mm_shape *s, int begin,
                             int end);
    size_t (*matmul_int4_size)(int n, int channels, int group);
    void (*matmul_pack_int4)(void *packed, const struct mm_int4 *w, int begin, int end);
    /* 0: int8 is not turned at this level, where an instruction multiplies it, or with so many channels */
    size_t (*winograd_size)(const struct mm_shape *s, int int8);
    void (*winograd_pack)(void *packed, const void *weight, const struct mm_shape *s, int int8, int begin,
                          int end);
    size_t (*matmul_scratch)(const struct matmul *m);
    void (*matmul)(const struct matmul *m, int part, int parts);
    void (*row_norm)(const struct row_norm *r, int part, int parts);
    void (*group_norm)(const struct group_norm *g, int phase, int part, int parts);
    void (*image_quantize)(const struct image_quantize *q, int phase, int part, int parts);
    void (*attention)(const struct attention *a, int part, int parts);
    void (*elementwise)(const struct elementwise *e, int part, int parts);
    void (*cache_read)(const struct cache_read *c, int part, int parts);
};

/* The table of a level, which must be <= cpu_best_level(). */
const struct cpu_kernels *cpu_kernels(enum cpu_level level);

#endif
