#include "backends/kernels/cpu/avx512/avx512.h"

#include <immintrin.h>

namespace quantfleet::avx512 {

// Scalar truth: cpu/scalar/activations.cc. Blocks and sub-blocks are multiples of 16.
void quantize_activations(const float* x, std::int64_t columns, int block, int sub_block, std::int8_t* codes, float* scales,
                          std::int16_t* sums) {
  const __m512i magnitude_bits = _mm512_set1_epi32(0x7fffffff);
  const __m512 magic = _mm512_set1_ps(12582912.0f);
  for (std::int64_t begin = 0; begin < columns; begin += block) {
    __m512i largest = _mm512_setzero_si512();  // magnitudes compare as integers; NaN and infinity are above all others
    for (std::int64_t k = begin; k < begin + block; k += 16)
      largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_loadu_si512(x + k), magnitude_bits));
    const int bits = _mm512_reduce_max_epi32(largest);
    const bool finite = bits < 0x7f800000;
    const float amax = __builtin_bit_cast(float, bits);
    const float inverse = 127.0f / amax;
    const bool zeros = !finite || amax == 0 || inverse > 3.402823466e+38f;
    *scales++ = !finite ? __builtin_nanf("") : zeros ? 0.0f : amax / 127.0f;
    const __m512 factor = _mm512_set1_ps(inverse);
    for (std::int64_t k = begin; k < begin + block; k += sub_block) {
      __m512i sum = _mm512_setzero_si512();
      for (std::int64_t i = k; i < k + sub_block; i += 16) {
        const __m512 shifted = _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor), magic);
        __m512i code = _mm512_cvttps_epi32(_mm512_sub_ps(shifted, magic));
        if (zeros) code = _mm512_setzero_si512();
        sum = _mm512_add_epi32(sum, code);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), _mm512_cvtepi32_epi8(code));
      }
      *sums++ = static_cast<std::int16_t>(_mm512_reduce_add_epi32(sum));
    }
  }
}

}  // namespace quantfleet::avx512
