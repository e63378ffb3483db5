// Reading one panel's blocks (cpu/panel_layout.h) into registers. Lanes are rows.
#pragma once

#include "backends/kernels/cpu/panel_layout.h"

#include <immintrin.h>

namespace quantfleet::avx512 {

// One format's panel as constants. Block, SubBlock: columns; MinSign as in IntegerFormat.
// Unit: d is a half times 1 / kUnitParts; 0 parts: d is a bf16.
template <CodeBits kBits_, int kOffset_, int kBlock_, int kSubBlock_, bool kScales_, int kMinSign_, bool kNibbles_ = false,
          CodeTable kTable_ = CodeTable::kNone, int kUnitParts_ = 1>
struct Panel {
  static constexpr CodeBits kBits = kBits_;
  static constexpr int kOffset = kOffset_, kBlock = kBlock_, kSubBlock = kSubBlock_, kMinSign = kMinSign_;
  static constexpr bool kScales = kScales_, kNibbles = kNibbles_;
  static constexpr CodeTable kTable = kTable_;
  static constexpr int kUnitParts = kUnitParts_;
  static constexpr int kSubs = kBlock / kSubBlock;
  static constexpr int kChunkBytes = kBits_ == CodeBits::k8     ? 512
                                     : kBits_ == CodeBits::k4   ? 256
                                     : kBits_ == CodeBits::k4h1 ? 320
                                     : kBits_ == CodeBits::k4h2 ? 384
                                     : kBits_ == CodeBits::k2   ? 128
                                                                : 192;
  static constexpr int kCodeBytes = kChunkBytes * (kBlock / 32);
  static constexpr int kSubPlace = kMinSign ? 64 : 32;
  static constexpr int kScaleBytes =
      kSubPlace + (kScales ? 16 * kSubs * (kMinSign && !kNibbles ? 2 : 1) : 0);
};

using Q4_0 = Panel<CodeBits::k4, 8, 32, 32, false, 0>;
using Q4_1 = Panel<CodeBits::k4, 0, 32, 32, false, +1>;
using Q5_0 = Panel<CodeBits::k4h1, 16, 32, 32, false, 0>;
using Q5_1 = Panel<CodeBits::k4h1, 0, 32, 32, false, +1>;
using Q8_0 = Panel<CodeBits::k8, 128, 32, 32, false, 0>;
using Q2_K = Panel<CodeBits::k2, 0, 256, 16, true, -1, true>;
using Q3_K = Panel<CodeBits::k2h1, 4, 256, 16, true, 0>;
using Q4_K = Panel<CodeBits::k4, 0, 256, 32, true, -1>;
using Q5_K = Panel<CodeBits::k4h1, 0, 256, 32, true, -1>;
using Q6_K = Panel<CodeBits::k4h2, 32, 256, 16, true, 0>;
using IQ1_S = Panel<CodeBits::k2h1, 128, 256, 32, true, 0, false, CodeTable::kIq1, 8>;
using IQ1_M = Panel<CodeBits::k2h1, 128, 256, 16, true, 0, false, CodeTable::kIq1, 8>;
using IQ2_XXS = Panel<CodeBits::k2h1, 128, 256, 32, true, 0, false, CodeTable::kIq2, 8>;
using IQ2_XS = Panel<CodeBits::k2h1, 128, 256, 16, true, 0, false, CodeTable::kIq2, 8>;  // and IQ2_S
using IQ3_XXS = Panel<CodeBits::k4, 128, 256, 32, true, 0, false, CodeTable::kIq3Xxs, 4>;
using IQ3_S = Panel<CodeBits::k4, 128, 256, 32, true, 0, false, CodeTable::kIq3S>;
using IQ4_NL = Panel<CodeBits::k4, 128, 32, 32, false, 0, false, CodeTable::kIq4>;
using IQ4_XS = Panel<CodeBits::k4, 128, 256, 32, true, 0, false, CodeTable::kIq4>;
using MXFP4 = Panel<CodeBits::k4, 128, 32, 32, false, 0, false, CodeTable::kFp4, 0>;
using Ternary = Panel<CodeBits::k2, 1, 256, 32, true, 0>;  // TQ1_0, TQ2_0

#define QF_INLINE [[gnu::always_inline]] static inline

QF_INLINE __m512i load_bytes(const unsigned char* p) { return _mm512_loadu_si512(p); }
QF_INLINE __m512 load_halves(const unsigned char* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

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
  if constexpr (kBits == CodeBits::k4 || kBits == CodeBits::k4h1 || kBits == CodeBits::k4h2) {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i v = load_bytes(p + 64 * j);
      quad[j] = _mm512_and_si512(v, low);
      quad[j + 4] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
    }
  }
  if constexpr (kBits == CodeBits::k4h1) {
    const __m512i h = load_bytes(p + 256), bit = _mm512_set1_epi8(16);
    quad[0] = or_and(quad[0], _mm512_slli_epi16(h, 4), bit);
    quad[1] = or_and(quad[1], _mm512_slli_epi16(h, 3), bit);
    quad[2] = or_and(quad[2], _mm512_slli_epi16(h, 2), bit);
    quad[3] = or_and(quad[3], _mm512_slli_epi16(h, 1), bit);
    quad[4] = or_and(quad[4], h, bit);
    quad[5] = or_and(quad[5], _mm512_srli_epi16(h, 1), bit);
    quad[6] = or_and(quad[6], _mm512_srli_epi16(h, 2), bit);
    quad[7] = or_and(quad[7], _mm512_srli_epi16(h, 3), bit);
  }
  if constexpr (kBits == CodeBits::k4h2) {
    const __m512i bits = _mm512_set1_epi8(48);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512i h = load_bytes(p + 256 + 64 * j);
      quad[4 * j] = or_and(quad[4 * j], _mm512_slli_epi16(h, 4), bits);
      quad[4 * j + 1] = or_and(quad[4 * j + 1], _mm512_slli_epi16(h, 2), bits);
      quad[4 * j + 2] = or_and(quad[4 * j + 2], h, bits);
      quad[4 * j + 3] = or_and(quad[4 * j + 3], _mm512_srli_epi16(h, 2), bits);
    }
  }
  if constexpr (kBits == CodeBits::k2 || kBits == CodeBits::k2h1) {
    const __m512i bits = _mm512_set1_epi8(3);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512i v = load_bytes(p + 64 * j);
      quad[4 * j] = _mm512_and_si512(v, bits);
      quad[4 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 2), bits);
      quad[4 * j + 2] = _mm512_and_si512(_mm512_srli_epi16(v, 4), bits);
      quad[4 * j + 3] = _mm512_and_si512(_mm512_srli_epi16(v, 6), bits);
    }
  }
  if constexpr (kBits == CodeBits::k2h1) {
    const __m512i h = load_bytes(p + 128), bit = _mm512_set1_epi8(4);
    quad[0] = or_and(quad[0], _mm512_slli_epi16(h, 2), bit);
    quad[1] = or_and(quad[1], _mm512_slli_epi16(h, 1), bit);
    quad[2] = or_and(quad[2], h, bit);
    quad[3] = or_and(quad[3], _mm512_srli_epi16(h, 1), bit);
    quad[4] = or_and(quad[4], _mm512_srli_epi16(h, 2), bit);
    quad[5] = or_and(quad[5], _mm512_srli_epi16(h, 3), bit);
    quad[6] = or_and(quad[6], _mm512_srli_epi16(h, 4), bit);
    quad[7] = or_and(quad[7], _mm512_srli_epi16(h, 5), bit);
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

// d of a block's rows.
template <class P>
QF_INLINE __m512 load_d(const unsigned char* p) {
  if constexpr (P::kUnitParts == 0) return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
  if constexpr (P::kUnitParts > 1) return _mm512_mul_ps(load_halves(p), _mm512_set1_ps(1.0f / P::kUnitParts));
  return load_halves(p);
}

// Sub-scale and sub-minimum j of a block, as 32-bit integers. `p`: the block's scales.
template <class P>
QF_INLINE __m512i sub_scale(const unsigned char* p, int j) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + P::kSubPlace + 16 * j));
  if constexpr (P::kNibbles) return _mm512_and_si512(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(15));
  return _mm512_cvtepi8_epi32(bytes);
}
template <class P>
QF_INLINE __m512i sub_minimum(const unsigned char* p, int j) {
  if constexpr (P::kNibbles) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + P::kSubPlace + 16 * j));
    return _mm512_srli_epi32(_mm512_cvtepu8_epi32(bytes), 4);
  }
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + P::kSubPlace + 16 * (P::kSubs + j))));
}

// Calls Body::run<Panel>(task) for the task's format; true when the format is one of these.
template <class Body>
QF_INLINE bool for_panel(std::uint32_t ggml_type, Body body) {
  switch (ggml_type) {
    case 2: body(Q4_0{}); return true;
    case 3: body(Q4_1{}); return true;
    case 6: body(Q5_0{}); return true;
    case 7: body(Q5_1{}); return true;
    case 8: body(Q8_0{}); return true;
    case 10: body(Q2_K{}); return true;
    case 11: body(Q3_K{}); return true;
    case 12: body(Q4_K{}); return true;
    case 13: body(Q5_K{}); return true;
    case 14: body(Q6_K{}); return true;
    case 16: body(IQ2_XXS{}); return true;
    case 17: case 22: body(IQ2_XS{}); return true;
    case 18: body(IQ3_XXS{}); return true;
    case 19: body(IQ1_S{}); return true;
    case 20: body(IQ4_NL{}); return true;
    case 21: body(IQ3_S{}); return true;
    case 23: body(IQ4_XS{}); return true;
    case 29: body(IQ1_M{}); return true;
    case 34: case 35: body(Ternary{}); return true;
    case 39: body(MXFP4{}); return true;
    default: return false;
  }
}

}  // namespace quantfleet::avx512
