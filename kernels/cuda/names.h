/* All kernels: one list for the host side, the build and the emulator. */
#ifndef HASTEN_KERNELS_CUDA_NAMES_H
#define HASTEN_KERNELS_CUDA_NAMES_H

#define CUDA_KERNELS(X) \
    X(product_f32_64)   \
    X(product_bf16_64)  \
    X(product_bf16_128) \
    X(product_s8_64)    \
    X(product_s8_128)   \
    X(product_s8_two_64)

#endif
