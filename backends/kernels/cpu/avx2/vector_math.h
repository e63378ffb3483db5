// exp and silu of eight floats: the operations of elementary.h, in its order, so that each lane has its bits. The joining
// tree of rule 3.
#pragma once

#include "backends/kernels/elementary.h"

#include <immintrin.h>

namespace quantfleet::avx2 {

[[gnu::always_inline, maybe_unused]] static inline __m256 exp(__m256 x) {
  namespace e = elementary;
  x = _mm256_min_ps(_mm256_set1_ps(e::kExpHigh), x);  // the second operand is returned when it is NaN
  x = _mm256_max_ps(_mm256_set1_ps(e::kExpLow), x);
  const __m256 magic = _mm256_set1_ps(e::kRoundMagic);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(e::kLog2E), magic);
  const __m256 n = _mm256_sub_ps(shifted, magic);
  const __m256i exponent = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_castps_si256(magic));
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(e::kLn2High), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(e::kLn2Low), r);
  __m256 p = _mm256_set1_ps(e::kExpTaylor[0]);
  for (int i = 1; i < 8; ++i) p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(e::kExpTaylor[i]));
  const __m256i half = _mm256_srai_epi32(exponent, 1), bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(exponent, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}

[[gnu::always_inline, maybe_unused]] static inline __m256 silu(__m256 x) {
  const __m256 negative = _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
  return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), exp(negative)));
}

// Sixteen partial sums, element i into sum i mod 16, joined by 8, 4, 2, 1. Whole groups of 16 by vectors, the rest by lanes.
struct PartialSums {
  alignas(32) float sums[16] = {};
};
[[gnu::always_inline, maybe_unused]] static inline void put(PartialSums& partial, __m256 low, __m256 high) {
  _mm256_store_ps(partial.sums, low);
  _mm256_store_ps(partial.sums + 8, high);
}
[[gnu::always_inline, maybe_unused]] static inline float join(PartialSums& partial) {
  float* sums = partial.sums;
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}

}  // namespace quantfleet::avx2
