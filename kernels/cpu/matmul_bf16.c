/* Matrix products: AVX-512 with VNNI and BF16: bfloat16 products by vdpbf16ps. */
#if defined __x86_64__
#define NAME(x) x##_bf16
#include "kernels/cpu/matmul.inc"
#endif
