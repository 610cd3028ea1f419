/* Matrix products: AVX-512 without VNNI. */
#if defined __x86_64__
#define NAME(x) x##_avx512
#include "kernels/cpu/matmul.inc"
#endif
