/* Matrix products: AVX2 with FMA: 8 lanes. */
#if defined __x86_64__
#define NAME(x) x##_avx2
#include "kernels/cpu/matmul.inc"
#endif
