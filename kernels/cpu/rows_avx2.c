/* Rows, group norm and attention at one level: AVX2 with FMA. */
#if defined __x86_64__
#define NAME(x) x##_avx2
#include "kernels/cpu/rows.inc"
#include "kernels/cpu/group_norm.inc"
#include "kernels/cpu/attention.inc"
#endif
