#include "backends/kernels/cpu/avx2/avx2.h"

#include <immintrin.h>

namespace quantfleet::avx2 {

// Scalar truth: cpu/scalar/activations.cc. Blocks and sub-blocks are multiples of 16.
void quantize_activations(const float* x, std::int64_t columns, int block, int sub_block, std::int8_t* codes, float* scales,
                          std::int16_t* sums) {
  const __m256i magnitude_bits = _mm256_set1_epi32(0x7fffffff);
  const __m256 magic = _mm256_set1_ps(12582912.0f);
  for (std::int64_t begin = 0; begin < columns; begin += block) {
    __m256i largest = _mm256_setzero_si256();  // magnitudes compare as integers; NaN and infinity are above all others
    for (std::int64_t k = begin; k < begin + block; k += 8)
      largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + k)), magnitude_bits));
    alignas(32) int lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), largest);
    int bits = 0;
    for (const int lane : lanes) bits = lane > bits ? lane : bits;
    const bool finite = bits < 0x7f800000;
    const float amax = __builtin_bit_cast(float, bits);
    const float inverse = 127.0f / amax;
    const bool zeros = !finite || amax == 0 || inverse > 3.402823466e+38f;
    *scales++ = !finite ? __builtin_nanf("") : zeros ? 0.0f : amax / 127.0f;
    const __m256 factor = _mm256_set1_ps(inverse);
    for (std::int64_t k = begin; k < begin + block; k += sub_block) {
      int sum = 0;
      for (std::int64_t i = k; i < k + sub_block; i += 8) {
        const __m256 shifted = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor), magic);
        __m256i code = _mm256_cvttps_epi32(_mm256_sub_ps(shifted, magic));
        if (zeros) code = _mm256_setzero_si256();
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(codes + i), _mm_packs_epi16(words, words));
        __m128i pairs = _mm_madd_epi16(words, _mm_set1_epi16(1));
        pairs = _mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0x4e));
        pairs = _mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0xb1));
        sum += _mm_cvtsi128_si32(pairs);
      }
      *sums++ = static_cast<std::int16_t>(sum);
    }
  }
}

}  // namespace quantfleet::avx2
