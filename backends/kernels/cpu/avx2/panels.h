// Reading half a panel's blocks (cpu/panel_layout.h), eight of its sixteen rows, into registers. Lanes are rows.
#pragma once

#include "backends/kernels/cpu/panel_formats.h"

#include <immintrin.h>

namespace quantfleet::avx2 {

using panel_formats::block_at;
using panel_formats::chunk_at;
using panel_formats::for_panel;
using panel_formats::load_in_order;
using panel_formats::panel_size;
using panel_formats::sub_minima_at;
using panel_formats::sub_scales_at;

QF_INLINE __m256i load_bytes(const unsigned char* p) { return load_in_order<__m256i>(p); }
QF_INLINE __m256 load_halves(const unsigned char* p) { return _mm256_cvtph_ps(load_in_order<__m128i>(p)); }

// Four codes, or two sums of codes, of one token for every lane.
QF_INLINE __m256i four_codes(const std::int8_t* codes) {
  int bits;
  __builtin_memcpy(&bits, codes, sizeof bits);
  return _mm256_set1_epi32(bits);
}
QF_INLINE __m256i two_sums(const std::int16_t* sums) {
  int bits;
  __builtin_memcpy(&bits, sums, sizeof bits);
  return _mm256_set1_epi32(bits);
}

QF_INLINE __m256i or_and(__m256i a, __m256i b, __m256i c) { return _mm256_or_si256(a, _mm256_and_si256(b, c)); }

// The eight quads of a chunk, as unsigned bytes.  p: the chunk, plus 32 for the upper eight rows.
template <CodeBits kBits>
QF_INLINE void unpack_chunk(const unsigned char* p, __m256i (&quad)[8]) {
  if constexpr (kBits == CodeBits::k8) {
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) quad[g] = load_bytes(p + 64 * g);
    return;
  }
  if constexpr (kBits == CodeBits::k6) {
    __m256i v[6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      v[j] = load_bytes(p + 64 * j);
      quad[j] = _mm256_and_si256(v[j], _mm256_set1_epi8(63));
    }
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256i bits01 = _mm256_and_si256(_mm256_srli_epi16(v[3 * j], 6), _mm256_set1_epi8(3));
      const __m256i bits03 = or_and(bits01, _mm256_srli_epi16(v[3 * j + 1], 4), _mm256_set1_epi8(12));
      quad[6 + j] = or_and(bits03, _mm256_srli_epi16(v[3 * j + 2], 2), _mm256_set1_epi8(48));
    }
  }
  if constexpr (kBits == CodeBits::k5) {
    __m256i v[5];
#pragma GCC unroll 5
    for (int j = 0; j < 5; ++j) {
      v[j] = load_bytes(p + 64 * j);
      quad[j] = _mm256_and_si256(v[j], _mm256_set1_epi8(31));
    }
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) quad[5 + j] = _mm256_and_si256(_mm256_srli_epi16(v[2 * j], 5), _mm256_set1_epi8(7));
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) quad[5 + j] = or_and(quad[5 + j], _mm256_srli_epi16(v[2 * j + 1], 3), _mm256_set1_epi8(24));
    quad[7] = or_and(or_and(quad[7], _mm256_srli_epi16(v[1], 2), _mm256_set1_epi8(8)), _mm256_srli_epi16(v[3], 1), _mm256_set1_epi8(16));
  }
  if constexpr (kBits == CodeBits::k4) {
    const __m256i low = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m256i v = load_bytes(p + 64 * j);
      quad[j] = _mm256_and_si256(v, low);
      quad[j + 4] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    }
  }
  if constexpr (kBits == CodeBits::k3) {
    const __m256i low = _mm256_set1_epi8(7), two = _mm256_set1_epi8(3), bit = _mm256_set1_epi8(4);
    __m256i v[3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      v[j] = load_bytes(p + 64 * j);
      quad[3 * j] = _mm256_and_si256(v[j], low);
      quad[3 * j + 1] = _mm256_and_si256(_mm256_srli_epi16(v[j], 3), low);
    }
    quad[2] = or_and(_mm256_and_si256(_mm256_srli_epi16(v[0], 6), two), _mm256_srli_epi16(v[2], 4), bit);
    quad[5] = or_and(_mm256_and_si256(_mm256_srli_epi16(v[1], 6), two), _mm256_srli_epi16(v[2], 5), bit);
  }
  if constexpr (kBits == CodeBits::k2) {
    const __m256i bits = _mm256_set1_epi8(3);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256i v = load_bytes(p + 64 * j);
      quad[2 * j] = _mm256_and_si256(v, bits);
      quad[2 * j + 4] = _mm256_and_si256(_mm256_srli_epi16(v, 2), bits);
      quad[2 * j + 1] = _mm256_and_si256(_mm256_srli_epi16(v, 4), bits);
      quad[2 * j + 5] = _mm256_and_si256(_mm256_srli_epi16(v, 6), bits);
    }
  }
}

// The same with the values of a table, plus 128.
template <class P>
QF_INLINE void unpack_values(const unsigned char* p, __m256i (&quad)[8]) {
  unpack_chunk<P::kBits>(p, quad);
  if constexpr (P::kTable != CodeTable::kNone) {
    static constexpr TableBytes kBytes = table_bytes(P::kTable);
    const __m256i table = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(kBytes.bytes)));
    for (int g = 0; g < 8; ++g) quad[g] = _mm256_shuffle_epi8(table, quad[g]);
  }
}

// A code of 8 bits at bit 0 or 8 of each lane, as a number less `offset`: exact. Its bits stay where they stand, under the exponent
// that makes them units.
template <int kPlace>
QF_INLINE __m256 number_at(__m256i codes, int offset) {
  const __m256i code = _mm256_and_si256(codes, _mm256_set1_epi32(255 << kPlace));
  const __m256 raised = _mm256_castsi256_ps(_mm256_or_si256(code, _mm256_set1_epi32((150 - kPlace) << 23)));
  return _mm256_sub_ps(raised, _mm256_set1_ps(static_cast<float>(1 << (23 - kPlace)) + static_cast<float>(offset)));
}

// d of eight rows, and m.  half: 0 or 1
template <class P>
QF_INLINE __m256 load_d(const unsigned char* block, int half) {
  const unsigned char* p = block + 16 * half;
  if constexpr (P::kUnitParts == 0) return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_in_order<__m128i>(p)), 16));
  if constexpr (P::kUnitParts > 1) return _mm256_mul_ps(load_halves(p), _mm256_set1_ps(1.0f / P::kUnitParts));
  return load_halves(p);
}
QF_INLINE __m256 load_m(const unsigned char* block, int half) { return load_halves(block + 32 + 16 * half); }

// Sub-scale and sub-minimum j of a block, as 32-bit integers.
template <class P>
QF_INLINE __m256i sub_scale(const unsigned char* block, int j, int half) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(sub_scales_at<P>(block, j) + 8 * half));
  if constexpr (P::kNibbles) return _mm256_and_si256(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(15));
  return _mm256_cvtepi8_epi32(bytes);
}
template <class P>
QF_INLINE __m256i sub_minimum(const unsigned char* block, int j, int half) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(sub_minima_at<P>(block, j) + 8 * half));
  const __m256i wide = _mm256_cvtepu8_epi32(bytes);
  return P::kNibbles ? _mm256_srli_epi32(wide, 4) : wide;
}

}  // namespace quantfleet::avx2
