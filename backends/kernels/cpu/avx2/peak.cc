#include "backends/kernels/cpu/avx2/peak.h"

#include <immintrin.h>

namespace quantfleet::avx2 {

std::int64_t int8_peak(std::int64_t rounds) {  // 8 x 32 multiply-accumulates a round
  __m256i acc[8], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < 8; ++i) acc[i] = _mm256_set1_epi32(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
      asm volatile("" : "+x"(x), "+x"(y));
    }
  }
  for (int i = 1; i < 8; ++i) acc[0] = _mm256_add_epi32(acc[0], acc[i]);
  return _mm256_extract_epi32(acc[0], 0);
}

std::int64_t f32_peak(std::int64_t rounds) {  // 12 x 8 fused multiply-adds a round
  __m256 acc[12], x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);
  for (int i = 0; i < 12; ++i) acc[i] = _mm256_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = _mm256_fmadd_ps(x, y, acc[i]);
    asm volatile("" : "+x"(x), "+x"(y));
  }
  for (int i = 1; i < 12; ++i) acc[0] = _mm256_add_ps(acc[0], acc[i]);
  return static_cast<std::int64_t>(_mm256_cvtss_f32(acc[0]));
}

std::int64_t read_streams(const unsigned char* bytes, std::uint64_t count) {
  __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  const std::uint64_t quarter = count / 4;
  for (std::uint64_t i = 0; i + 128 <= quarter; i += 128)
    for (int stream = 0; stream < 4; ++stream) {
      const unsigned char* p = bytes + static_cast<std::uint64_t>(stream) * quarter + i;
      _mm_prefetch(reinterpret_cast<const char*>(p) + 4096, _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(p) + 4160, _MM_HINT_T0);
      for (int j = 0; j < 4; ++j)
        sums[stream] = _mm256_xor_si256(sums[stream], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * j)));
    }
  return _mm256_extract_epi64(_mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3])), 0);
}

}  // namespace quantfleet::avx2
