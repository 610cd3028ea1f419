/* Rows, group norm and attention at one level: AVX-512 with BF16. */
#if defined __x86_64__
#define NAME(x) x##_bf16
#include "kernels/cpu/rows.inc"
#include "kernels/cpu/group_norm.inc"
#include "kernels/cpu/attention.inc"
#endif
