#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/panel_formats.h"

#include <immintrin.h>

namespace quantfleet::avx512 {
namespace {

QF_INLINE __m512i magnitudes(const float* x) { return _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(0x7fffffff)); }

// Codes of 16 values, x * factor rounded to nearest even.
QF_INLINE __m128i codes_of(const float* x, __m512 factor) {
  const __m512 magic = _mm512_set1_ps(12582912.0f);
  const __m512 shifted = _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(x), factor), magic);
  return _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(_mm512_sub_ps(shifted, magic)));
}

// Scales of 16 blocks by their largest magnitudes, which compare as integers: NaN and infinity are above all others.
// zeros: blocks whose codes are zeros.
struct Scales {
  __m512 inverse, d;
  __mmask16 zeros;
};
QF_INLINE Scales scales_of(__m512i bits) {
  const __m512 amax = _mm512_castsi512_ps(bits), most = _mm512_set1_ps(127.0f);
  const __mmask16 infinite = _mm512_cmpge_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
  Scales s;
  s.inverse = _mm512_div_ps(most, amax);
  s.zeros = infinite | _mm512_cmp_ps_mask(s.inverse, _mm512_set1_ps(3.402823466e+38f), _CMP_GT_OQ);  // also where amax is 0
  s.d = _mm512_maskz_div_ps(static_cast<__mmask16>(~s.zeros), amax, most);
  s.d = _mm512_mask_mov_ps(s.d, infinite, _mm512_set1_ps(__builtin_nanf("")));
  return s;
}

// In each 128 bits: the sums of the four lanes of a, of b, of c and of d. `Join`: other things than sums.
template <class Join>
QF_INLINE __m512i four_in_lanes(__m512i a, __m512i b, __m512i c, __m512i d, Join join) {
  const __m512i ab = join(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = join(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  return join(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

// Sums of the codes of 16 sub-blocks of 16 or 32.
QF_INLINE void store_sums(const std::int8_t* codes, int sub_block, std::int16_t* sums) {
  const auto add = [](__m512i a, __m512i b) __attribute__((always_inline)) { return _mm512_add_epi32(a, b); };
  const auto fours = [&](int i) __attribute__((always_inline)) {  // sums of four codes each
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_loadu_si512(codes + 64 * i));
  };
  const __m512i first = four_in_lanes(fours(0), fours(1), fours(2), fours(3), add);
  __m512i result;
  if (sub_block == 16) {  // place 4 l + i: sub-block 4 i + l
    result = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), first);
  } else {  // a sub-block's halves are in neighbouring 128 bits; then place 8 h + 4 l + i: sub-block 8 h + 2 i + l
    const __m512i second = four_in_lanes(fours(4), fours(5), fours(6), fours(7), add);
    result = add(_mm512_shuffle_i32x4(first, second, 0x88), _mm512_shuffle_i32x4(first, second, 0xdd));
    result = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), result);
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), _mm512_cvtepi32_epi16(result));
}

// 16 blocks of 32 values.
QF_INLINE void sixteen_blocks(const float* x, std::int8_t* codes, float* scales, std::int16_t* sums) {
  const auto larger = [](__m512i a, __m512i b) __attribute__((always_inline)) { return _mm512_max_epi32(a, b); };
  const auto largest = [&](int block) __attribute__((always_inline)) { return larger(magnitudes(x + 32 * block), magnitudes(x + 32 * block + 16)); };
  const auto four = [&](int block) __attribute__((always_inline)) {
    return four_in_lanes(largest(block), largest(block + 1), largest(block + 2), largest(block + 3), larger);
  };
  const auto halves = [&](__m512i a, __m512i b) __attribute__((always_inline)) {
    return larger(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  };
  const Scales s = scales_of(halves(halves(four(0), four(4)), halves(four(8), four(12))));
  alignas(64) float inverse[16];
  _mm512_store_ps(inverse, s.inverse);
  _mm512_storeu_ps(scales, s.d);
#pragma GCC unroll 4
  for (int block = 0; block < 16; ++block) {
    const __m512 factor = _mm512_set1_ps(inverse[block]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 32 * block), codes_of(x + 32 * block, factor));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 32 * block + 16), codes_of(x + 32 * block + 16, factor));
  }
  for (int block = 0; s.zeros != 0 && block < 16; ++block)
    if (s.zeros >> block & 1) _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 32 * block), _mm256_setzero_si256());
  store_sums(codes, 32, sums);
}

// A block of any multiple of 16 values.
QF_INLINE void one_block(const float* x, int block, int sub_block, std::int8_t* codes, float* scale, std::int16_t* sums) {
  __m512i largest = magnitudes(x);
  for (int k = 16; k < block; k += 16) largest = _mm512_max_epi32(largest, magnitudes(x + k));
  const Scales s = scales_of(_mm512_set1_epi32(_mm512_reduce_max_epi32(largest)));
  *scale = _mm512_cvtss_f32(s.d);
  for (int k = 0; k < block; k += 16)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + k), s.zeros ? _mm_setzero_si128() : codes_of(x + k, s.inverse));
  if (block == 256 && sub_block == 16) return store_sums(codes, 16, sums);
  for (int k = 0; k < block; k += sub_block) {
    __m512i sum = _mm512_setzero_si512();
    for (int i = k; i < k + sub_block; i += 16)
      sum = _mm512_add_epi32(sum, _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i))));
    *sums++ = static_cast<std::int16_t>(_mm512_reduce_add_epi32(sum));
  }
}

}  // namespace

// Scalar truth: cpu/scalar/activations.cc. Blocks and sub-blocks are multiples of 16.
void quantize_activations(const float* x, std::int64_t columns, int block, int sub_block, std::int8_t* codes, float* scales,
                          std::int16_t* sums) {
  std::int64_t k = 0;
  if (block == 32 && sub_block == 32)
    for (; k + 512 <= columns; k += 512) sixteen_blocks(x + k, codes + k, scales + k / 32, sums + k / 32);
  for (; k < columns; k += block) one_block(x + k, block, sub_block, codes + k, scales + k / block, sums + k / sub_block);
}

}  // namespace quantfleet::avx512
