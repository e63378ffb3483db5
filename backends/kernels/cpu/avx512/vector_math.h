// exp and silu of sixteen floats: the operations of elementary.h, in its order, so that each lane has its bits. The joining
// tree of rule 3.
#pragma once

#include "backends/kernels/elementary.h"

#include <immintrin.h>

namespace quantfleet::avx512 {

[[gnu::always_inline, maybe_unused]] static inline __m512 exp(__m512 x) {
  namespace e = elementary;
  x = _mm512_min_ps(_mm512_set1_ps(e::kExpHigh), x);  // the second operand is returned when it is NaN
  x = _mm512_max_ps(_mm512_set1_ps(e::kExpLow), x);
  const __m512 magic = _mm512_set1_ps(e::kRoundMagic);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(e::kLog2E), magic);
  const __m512 n = _mm512_sub_ps(shifted, magic);
  const __m512i exponent = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(magic));
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(e::kLn2High), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(e::kLn2Low), r);
  __m512 p = _mm512_set1_ps(e::kExpTaylor[0]);
  for (int i = 1; i < 8; ++i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(e::kExpTaylor[i]));
  const __m512i half = _mm512_srai_epi32(exponent, 1), bias = _mm512_set1_epi32(127);
  const __m512i first = _mm512_slli_epi32(_mm512_add_epi32(half, bias), 23);
  const __m512i second = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(exponent, half), bias), 23);
  return _mm512_mul_ps(_mm512_mul_ps(p, _mm512_castsi512_ps(first)), _mm512_castsi512_ps(second));
}

[[gnu::always_inline, maybe_unused]] static inline __m512 silu(__m512 x) {
  const __m512 negative = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(x), _mm512_set1_epi32(int(0x80000000u))));
  return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), exp(negative)));
}

// Sixteen partial sums joined by 8, 4, 2, 1.
[[gnu::always_inline, maybe_unused]] static inline float join(__m512 partial) {
  alignas(64) float sums[16];
  _mm512_store_ps(sums, partial);
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}

// The mask of the first min(16, n) lanes.
[[gnu::always_inline, maybe_unused]] static inline __mmask16 first_lanes(std::int64_t n) {
  return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1);
}

}  // namespace quantfleet::avx512
