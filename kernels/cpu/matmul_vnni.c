/* Matrix products: AVX-512 with VNNI: int8 products by vpdpbusd. */
#if defined __x86_64__
#define NAME(x) x##_vnni
#include "kernels/cpu/matmul.inc"
#endif
