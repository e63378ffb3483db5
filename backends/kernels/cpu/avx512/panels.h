// Reading one panel's blocks (cpu/panel_layout.h) into registers. Lanes are rows.
#pragma once

#include "backends/kernels/cpu/panel_formats.h"

#include <immintrin.h>

namespace quantfleet::avx512 {

using panel_formats::block_at;
using panel_formats::chunk_at;
using panel_formats::for_panel;
using panel_formats::load_in_order;
using panel_formats::panel_size;
using panel_formats::sub_minima_at;
using panel_formats::sub_scales_at;

QF_INLINE __m512i load_bytes(const unsigned char* p) { return load_in_order<__m512i>(p); }
QF_INLINE __m512 load_halves(const unsigned char* p) { return _mm512_cvtph_ps(load_in_order<__m256i>(p)); }

// Four codes, or two sums of codes, of one token for every lane.
QF_INLINE __m512i four_codes(const std::int8_t* codes) {
  int bits;
  __builtin_memcpy(&bits, codes, sizeof bits);
  return _mm512_set1_epi32(bits);
}
QF_INLINE __m512i two_sums(const std::int16_t* sums) {
  int bits;
  __builtin_memcpy(&bits, sums, sizeof bits);
  return _mm512_set1_epi32(bits);
}

// a | (b & c)
QF_INLINE __m512i or_and(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi32(a, b, c, 0xf8); }

// The eight quads of a chunk, as unsigned bytes. Loops are unrolled by request: else GCC's -O2 keeps quads in memory.
template <CodeBits kBits>
QF_INLINE void unpack_chunk(const unsigned char* p, __m512i (&quad)[8]) {
  if constexpr (kBits == CodeBits::k8) {
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) quad[g] = load_bytes(p + 64 * g);
    return;
  }
  if constexpr (kBits == CodeBits::k6) {
    const __m512i low = _mm512_set1_epi8(63);
    __m512i v[6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      v[j] = load_bytes(p + 64 * j);
      quad[j] = _mm512_and_si512(v[j], low);
    }
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512i bits01 = _mm512_and_si512(_mm512_srli_epi16(v[3 * j], 6), _mm512_set1_epi8(3));
      const __m512i bits03 = or_and(bits01, _mm512_srli_epi16(v[3 * j + 1], 4), _mm512_set1_epi8(12));
      quad[6 + j] = or_and(bits03, _mm512_srli_epi16(v[3 * j + 2], 2), _mm512_set1_epi8(48));
    }
  }
  if constexpr (kBits == CodeBits::k5) {
    const __m512i low = _mm512_set1_epi8(31);
    __m512i v[5];
#pragma GCC unroll 5
    for (int j = 0; j < 5; ++j) {
      v[j] = load_bytes(p + 64 * j);
      quad[j] = _mm512_and_si512(v[j], low);
    }
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) quad[5 + j] = _mm512_and_si512(_mm512_srli_epi16(v[2 * j], 5), _mm512_set1_epi8(7));
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) quad[5 + j] = or_and(quad[5 + j], _mm512_srli_epi16(v[2 * j + 1], 3), _mm512_set1_epi8(24));
    quad[7] = or_and(or_and(quad[7], _mm512_srli_epi16(v[1], 2), _mm512_set1_epi8(8)), _mm512_srli_epi16(v[3], 1), _mm512_set1_epi8(16));
  }
  if constexpr (kBits == CodeBits::k4) {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i v = load_bytes(p + 64 * j);
      quad[j] = _mm512_and_si512(v, low);
      quad[j + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
    }
  }
  if constexpr (kBits == CodeBits::k3) {
    const __m512i low = _mm512_set1_epi8(7), two = _mm512_set1_epi8(3), bit = _mm512_set1_epi8(4);
    __m512i v[3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      v[j] = load_bytes(p + 64 * j);
      quad[3 * j] = _mm512_and_si512(v[j], low);
      quad[3 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(v[j], 3), low);
    }
    quad[2] = or_and(_mm512_and_si512(_mm512_srli_epi16(v[0], 6), two), _mm512_srli_epi16(v[2], 4), bit);
    quad[5] = or_and(_mm512_and_si512(_mm512_srli_epi16(v[1], 6), two), _mm512_srli_epi16(v[2], 5), bit);
  }
  if constexpr (kBits == CodeBits::k2) {
    const __m512i bits = _mm512_set1_epi8(3);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512i v = load_bytes(p + 64 * j);
      quad[2 * j] = _mm512_and_si512(v, bits);
      quad[2 * j + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 2), bits);
      quad[2 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), bits);
      quad[2 * j + 5] = _mm512_and_si512(_mm512_srli_epi16(v, 6), bits);
    }
  }
}

// The same of two-bit codes, those of the last sixteen columns times four: they stay where they stand.
QF_INLINE void unpack_pairs(const unsigned char* p, __m512i (&quad)[8]) {
  const __m512i low = _mm512_set1_epi8(3), high = _mm512_set1_epi8(12);
#pragma GCC unroll 2
  for (int j = 0; j < 2; ++j) {
    const __m512i v = load_bytes(p + 64 * j), w = _mm512_srli_epi16(v, 4);
    quad[2 * j] = _mm512_and_si512(v, low);
    quad[2 * j + 1] = _mm512_and_si512(w, low);
    quad[2 * j + 4] = _mm512_and_si512(v, high);
    quad[2 * j + 5] = _mm512_and_si512(w, high);
  }
}

// The same with the values of a table, plus 128.
template <class P>
QF_INLINE void unpack_values(const unsigned char* p, __m512i (&quad)[8]) {
  unpack_chunk<P::kBits>(p, quad);
  if constexpr (P::kTable != CodeTable::kNone) {
    static constexpr TableBytes kBytes = table_bytes(P::kTable);
    const __m512i table = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(kBytes.bytes)));
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) quad[g] = _mm512_shuffle_epi8(table, quad[g]);
  }
}

// A code of 8 bits at bit 0 or 8 of each lane, as a number less `offset`: exact. Its bits stay where they stand, under the exponent
// that makes them units.
template <int kPlace>
QF_INLINE __m512 number_at(__m512i codes, int offset) {
  const __m512i raised = _mm512_ternarylogic_epi32(codes, _mm512_set1_epi32(255 << kPlace), _mm512_set1_epi32((150 - kPlace) << 23), 0xea);
  return _mm512_sub_ps(_mm512_castsi512_ps(raised), _mm512_set1_ps(static_cast<float>(1 << (23 - kPlace)) + static_cast<float>(offset)));
}

// d of a block's rows, and m.
template <class P>
QF_INLINE __m512 load_d(const unsigned char* block) {
  if constexpr (P::kUnitParts == 0) return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_in_order<__m256i>(block)), 16));
  if constexpr (P::kUnitParts > 1) return _mm512_mul_ps(load_halves(block), _mm512_set1_ps(1.0f / P::kUnitParts));
  return load_halves(block);
}
QF_INLINE __m512 load_m(const unsigned char* block) { return load_halves(block + 32); }

// Sub-scale and sub-minimum j of a block, as 32-bit integers.
template <class P>
QF_INLINE __m512i sub_scale(const unsigned char* block, int j) {
  const __m128i bytes = load_in_order<__m128i>(sub_scales_at<P>(block, j));
  if constexpr (P::kNibbles) return _mm512_and_si512(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(15));
  return _mm512_cvtepi8_epi32(bytes);
}
template <class P>
QF_INLINE __m512i sub_minimum(const unsigned char* block, int j) {
  const __m512i wide = _mm512_cvtepu8_epi32(load_in_order<__m128i>(sub_minima_at<P>(block, j)));
  return P::kNibbles ? _mm512_srli_epi32(wide, 4) : wide;
}
// The bytes of sub-blocks j and j + 1 in the halves of each lane.
template <class P>
QF_INLINE __m512i sub_pair(const unsigned char* block, int j) {
  const __m512i first = _mm512_cvtepu8_epi32(load_in_order<__m128i>(sub_scales_at<P>(block, j)));
  return _mm512_or_si512(first, _mm512_slli_epi32(_mm512_cvtepu8_epi32(load_in_order<__m128i>(sub_scales_at<P>(block, j + 1))), 16));
}

}  // namespace quantfleet::avx512
