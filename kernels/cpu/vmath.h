/* Vectors of floats for the level that includes this: 16 lanes with AVX-512, 8 with AVX2. One name for each
 * thing that the kernels need; contraction is off, so a multiply-add is one only where v_fma says so, and a
 * value is the same in whichever kernel it is computed.
 *
 * v_exp: Cephes' reduction by ln 2 in two parts and its polynomial of degree 6 on [-ln2/2, ln2/2]: 1.3 ulp.
 * v_tanh (4 ulp), v_sigmoid (3 ulp), SiLU and the tanh GELU stand on it. v_erf: Abramowitz and Stegun 7.1.26
 * is too coarse next to zero, so a ratio of polynomials of degree 13 and 8 on [-4, 4], with the coefficients
 * that Eigen and XLA use: 4e-7. tests/vmath.inc holds them to that. */
#ifndef HASTEN_KERNELS_VMATH_H
#define HASTEN_KERNELS_VMATH_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* Before a loop of few and known turns over an array of vectors: only unrolled do they stay in registers. */
#if defined __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
/* Known to be a whole vector when compiled: then no mask is needed. */
#define WHOLE(n) (__builtin_constant_p((n) >= LANES) && (n) >= LANES)

#if defined __AVX512F__

enum { LANES = 16 };
typedef __m512 vf;
typedef __m512i vi;

INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
INLINE vf v_set(float x) { return _mm512_set1_ps(x); }
INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
/* The second operand comes out when one is NaN, as the instruction has it. */
INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
INLINE vf v_floor_half(vf a) { return _mm512_roundscale_ps(a, 0x08); } /* to nearest, ties to even */
INLINE vf v_from_int(vi a) { return _mm512_cvtepi32_ps(a); }
INLINE vi v_to_int(vf a) { return _mm512_cvtps_epi32(a); }
INLINE vf v_power2(vf x, vf n) { return _mm512_scalef_ps(x, n); }
INLINE float v_sum(vf a) { return _mm512_reduce_add_ps(a); }
INLINE float v_top(vf a) { return _mm512_reduce_max_ps(a); }
INLINE __mmask16 v_mask(int n) { return n >= 16 ? 0xFFFF : (__mmask16)((1u << n) - 1); }
INLINE vf v_load_some(const float *p, int n)
{
    return WHOLE(n) ? v_load(p) : _mm512_maskz_loadu_ps(v_mask(n), p);
}
INLINE void v_store_some(float *p, vf x, int n)
{
    if (WHOLE(n))
        v_store(p, x);
    else
        _mm512_mask_storeu_ps(p, v_mask(n), x);
}
/* 0 in the lanes from n on. */
INLINE vf v_first(vf x, int n) { return WHOLE(n) ? x : _mm512_maskz_mov_ps(v_mask(n), x); }
/* a where x < y, else b (also where either is NaN). */
INLINE vf v_less(vf x, vf y, vf a, vf b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
}
INLINE vf v_if_nan(vf x, vf a, vf b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), b, a);
}
/* Store the n first ints, none negative, as bytes; those above 255 as 255. A masked store of narrowed lanes
 * is microcode on some machines. */
INLINE void v_store_bytes(uint8_t *p, vi x, int n)
{
    __m128i b = _mm512_cvtusepi32_epi8(x);
    if (WHOLE(n))
        _mm_storeu_si128((__m128i *)p, b);
    else
        _mm_mask_storeu_epi8(p, v_mask(n), b);
}
/* The n first lanes as bfloat16. */
INLINE void v_store_bf16(uint16_t *p, vf x, int n)
{
#if defined __AVX512BF16__
    __m256i h = (__m256i)_mm512_cvtneps_pbh(x);
#else
    __m512i u = _mm512_castps_si512(x),
            odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    r = _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
    __m256i h = _mm512_cvtepi32_epi16(_mm512_srli_epi32(r, 16));
#endif
    if (WHOLE(n))
        _mm256_storeu_si256((__m256i *)p, h);
    else
        _mm256_mask_storeu_epi16(p, v_mask(n), h);
}
/* n values of bfloat16. */
INLINE vf v_load_bf16(const uint16_t *p, int n)
{
    __m256i h = WHOLE(n) ? _mm256_loadu_si256((const __m256i *)p) : _mm256_maskz_loadu_epi16(v_mask(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
/* 2 * LANES bfloat16 at p, and as they lie there. */
INLINE __m512i v_store_bf16_pair(uint16_t *p, vf a, vf b)
{
#if defined __AVX512BF16__
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    _mm512_storeu_si512(p, both);
    return both;
#else
    v_store_bf16(p, a, LANES);
    v_store_bf16(p + LANES, b, LANES);
    return _mm512_loadu_si512(p);
#endif
}
INLINE vi v_bits(vf a) { return _mm512_castps_si512(a); }
INLINE vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
INLINE vi vi_max_unsigned(vi a, vi b) { return _mm512_max_epu32(a, b); }
INLINE int32_t vi_top(vi a) { return _mm512_reduce_max_epi32(a); }
INLINE uint32_t vi_top_unsigned(vi a) { return _mm512_reduce_max_epu32(a); }
INLINE vi vi_set(int a) { return _mm512_set1_epi32(a); }
INLINE vi vi_sum(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi vi_add(vi a, int b) { return _mm512_add_epi32(a, _mm512_set1_epi32(b)); }

#else

enum { LANES = 8 };
typedef __m256 vf;
typedef __m256i vi;

INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
INLINE vf v_set(float x) { return _mm256_set1_ps(x); }
INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf v_floor_half(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf v_from_int(vi a) { return _mm256_cvtepi32_ps(a); }
INLINE vi v_to_int(vf a) { return _mm256_cvtps_epi32(a); }
/* Two steps, so that the scale itself never overflows; results below the normal range become 0. */
INLINE vf v_power2(vf x, vf n)
{
    vi i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), rest = _mm256_sub_epi32(i, half);
    vi bias = _mm256_set1_epi32(127);
    vf a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vf b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(x, a), b);
}
INLINE float v_sum(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
INLINE float v_top(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
INLINE vi v_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vf v_load_some(const float *p, int n)
{
    return WHOLE(n) ? v_load(p) : _mm256_maskload_ps(p, v_mask(n));
}
INLINE void v_store_some(float *p, vf x, int n)
{
    if (WHOLE(n))
        v_store(p, x);
    else
        _mm256_maskstore_ps(p, v_mask(n), x);
}
INLINE vf v_first(vf x, int n) { return WHOLE(n) ? x : _mm256_and_ps(x, _mm256_castsi256_ps(v_mask(n))); }
INLINE vf v_less(vf x, vf y, vf a, vf b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ)); }
INLINE vf v_if_nan(vf x, vf a, vf b) { return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, x, _CMP_UNORD_Q)); }
INLINE void v_store_bytes(uint8_t *p, vi x, int n)
{
    __m128i b = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    uint64_t bytes = (uint64_t)_mm_cvtsi128_si64(_mm_packus_epi16(b, b));
    if (WHOLE(n))
        memcpy(p, &bytes, 8);
    else
        for (int i = 0; i < 8 && i < n; i++)
            p[i] = (uint8_t)(bytes >> 8 * i);
}
/* As bfloat16, in the low half of each lane. */
INLINE vi v_round_bf16(vf x)
{
    vi u = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    vi r = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    vf nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q), quiet = _mm256_castsi256_ps(_mm256_set1_epi32(0x400000));
    r = _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(r), _mm256_or_ps(x, quiet), nan));
    return _mm256_srli_epi32(r, 16);
}
INLINE void v_store_bf16(uint16_t *p, vf x, int n)
{
    vi r = v_round_bf16(x);
    uint16_t all[8];
    _mm_storeu_si128((__m128i *)(WHOLE(n) ? p : all),
                     _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1)));
    for (int i = 0; !WHOLE(n) && i < 8 && i < n; i++)
        p[i] = all[i];
}
INLINE vf v_load_bf16(const uint16_t *p, int n)
{
    uint16_t all[8] = {0};
    for (int i = 0; !WHOLE(n) && i < 8 && i < n; i++)
        all[i] = p[i];
    __m128i h = _mm_loadu_si128((const __m128i *)(WHOLE(n) ? p : all));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
INLINE __m256i v_store_bf16_pair(uint16_t *p, vf a, vf b)
{
    vi both = _mm256_permute4x64_epi64(_mm256_packus_epi32(v_round_bf16(a), v_round_bf16(b)), 0xD8);
    _mm256_storeu_si256((__m256i *)p, both); /* reading two short stores back would wait for them */
    return both;
}
INLINE vi v_bits(vf a) { return _mm256_castps_si256(a); }
INLINE vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
INLINE int32_t vi_top(vi a)
{
    __m128i s = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}
INLINE vi vi_max_unsigned(vi a, vi b) { return _mm256_max_epu32(a, b); }
INLINE uint32_t vi_top_unsigned(vi a)
{
    __m128i s = _mm_max_epu32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s = _mm_max_epu32(s, _mm_shuffle_epi32(s, 0x4E));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(s, _mm_shuffle_epi32(s, 0xB1)));
}
INLINE vi vi_set(int a) { return _mm256_set1_epi32(a); }
INLINE vi vi_sum(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi vi_add(vi a, int b) { return _mm256_add_epi32(a, _mm256_set1_epi32(b)); }

#endif

/* NaN stays NaN: the clamps take x as their second operand. */
INLINE vf v_exp(vf x)
{
    vf y = v_max(v_set(-87.33654f), v_min(v_set(88.72283f), x));
    vf n = v_floor_half(v_mul(y, v_set(1.44269504088896341f)));
    vf r = v_fma(n, v_set(-0.693359375f), y);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vf p = v_set(1.9875691500e-4f);
    p = v_fma(p, r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_fma(p, v_mul(r, r), v_add(r, v_set(1)));
    return v_power2(p, n);
}

INLINE vf v_sigmoid(vf x) { return v_div(v_set(1), v_add(v_set(1), v_exp(v_sub(v_zero(), x)))); }

/* (1 - e) / (1 + e) with e = exp(-2|x|); near 0, where that cancels, a short series. */
INLINE vf v_tanh(vf x)
{
    vf a = v_abs(x), e = v_exp(v_mul(a, v_set(-2)));
    vf big = v_div(v_sub(v_set(1), e), v_add(v_set(1), e)), s = v_mul(x, x);
    vf p = v_fma(s, v_set(-17.0f / 315), v_set(2.0f / 15));
    p = v_fma(p, s, v_set(-1.0f / 3));
    p = v_fma(v_mul(p, s), x, x);
    return v_less(a, v_set(0.15f), p, v_less(x, v_zero(), v_sub(v_zero(), big), big));
}

/* x times a ratio of polynomials in x^2, x clamped to where erf is 1. */
INLINE vf v_erf(vf x)
{
    vf y = v_max(v_set(-4), v_min(v_set(4), x)), s = v_mul(y, y);
    vf p = v_set(-2.72614225801306e-10f), q = v_set(-1.45660718464996e-05f);
    p = v_fma(p, s, v_set(2.77068142495902e-08f));
    p = v_fma(p, s, v_set(-2.10102402082508e-06f));
    p = v_fma(p, s, v_set(-5.69250639462346e-05f));
    p = v_fma(p, s, v_set(-7.34990630326855e-04f));
    p = v_fma(p, s, v_set(-2.95459980854025e-03f));
    p = v_fma(p, s, v_set(-1.60960333262415e-02f));
    q = v_fma(q, s, v_set(-2.13374055278905e-04f));
    q = v_fma(q, s, v_set(-1.68282697438203e-03f));
    q = v_fma(q, s, v_set(-7.37332916720468e-03f));
    q = v_fma(q, s, v_set(-1.42647390514189e-02f));
    return v_div(v_mul(y, p), q);
}

#include "kernels/cpu/cpu.h"

INLINE vf v_activate(vf x, enum activation act)
{
    switch (act) {
    case ACT_SILU:
        return v_div(x, v_add(v_set(1), v_exp(v_sub(v_zero(), x))));
    case ACT_GELU_TANH: { /* (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) */
        vf twice =
            v_mul(v_set(-2 * 0.79788456080286535588f), v_fma(v_mul(v_mul(x, x), x), v_set(0.044715f), x));
        return v_div(x, v_add(v_set(1), v_exp(twice)));
    }
    case ACT_GELU_ERF:
        return v_mul(v_mul(v_set(0.5f), x), v_add(v_set(1), v_erf(v_mul(x, v_set(0.70710678118654752440f)))));
    case ACT_RELU:
        return v_max(v_zero(), x);
    case ACT_TANH:
        return v_tanh(x);
    case ACT_SIGMOID:
        return v_sigmoid(x);
    default:
        return x;
    }
}

#endif
