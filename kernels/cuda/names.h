/* All kernels: one list for the host side, the build and the emulator. */
#ifndef HASTEN_KERNELS_CUDA_NAMES_H
#define HASTEN_KERNELS_CUDA_NAMES_H

#define CUDA_KERNELS(X)      \
    X(product_f32_64)        \
    X(product_bf16_64)       \
    X(product_bf16_128)      \
    X(product_bf16_rows_64)  \
    X(product_bf16_rows_128) \
    X(product_s8_64)         \
    X(product_s8_128)        \
    X(product_s8_two_64)     \
    X(product_finish)        \
    X(attention_f32_32)      \
    X(attention_f32_48)      \
    X(attention_f32_64)      \
    X(attention_f32_80)      \
    X(attention_f32_128)     \
    X(attention_bf16_32)     \
    X(attention_bf16_48)     \
    X(attention_bf16_64)     \
    X(attention_bf16_80)     \
    X(attention_bf16_128)    \
    X(row_norm_rows)         \
    X(rows_e4m3)             \
    X(image_extremes)        \
    X(image_codes)           \
    X(group_norm_sums)       \
    X(group_norm_moments)    \
    X(group_norm_apply)      \
    X(group_norm_codes)      \
    X(elementwise_rows)      \
    X(cache_read_rows)       \
    X(move_rows)             \
    X(decode_weights)        \
    X(sampler_step)          \
    X(change_layout)

#endif
