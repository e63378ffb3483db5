// Reading a quarter of a panel's blocks (cpu/panel_layout.h), four of its sixteen rows, into registers. Lanes are rows.
#pragma once

#include "backends/kernels/cpu/panel_formats.h"

#include <arm_neon.h>

namespace quantfleet::neon {

using panel_formats::block_at;
using panel_formats::chunk_at;
using panel_formats::for_panel;
using panel_formats::panel_size;
using panel_formats::sub_minima_at;
using panel_formats::sub_scales_at;

// Codes that need all of a byte become signed here; all others stay code + offset, below 64.
template <class P>
constexpr bool is_signed() {
  return P::kBits == CodeBits::k8 || P::kTable != CodeTable::kNone;
}

QF_INLINE uint8x16_t or_and(uint8x16_t a, uint8x16_t b, unsigned char mask) { return vorrq_u8(a, vandq_u8(b, vdupq_n_u8(mask))); }

// The eight quads of a chunk, as unsigned bytes.  p: the chunk, plus 16 for each quarter before.
template <CodeBits kBits>
QF_INLINE void unpack_chunk(const unsigned char* p, uint8x16_t (&quad)[8]) {
  if constexpr (kBits == CodeBits::k8)
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) quad[g] = vld1q_u8(p + 64 * g);
  if constexpr (kBits == CodeBits::k6) {
    uint8x16_t v[6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      v[j] = vld1q_u8(p + 64 * j);
      quad[j] = vandq_u8(v[j], vdupq_n_u8(63));
    }
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const uint8x16_t bits03 = or_and(vshrq_n_u8(v[3 * j], 6), vshrq_n_u8(v[3 * j + 1], 4), 12);
      quad[6 + j] = or_and(bits03, vshrq_n_u8(v[3 * j + 2], 2), 48);
    }
  }
  if constexpr (kBits == CodeBits::k5) {
    uint8x16_t v[5];
#pragma GCC unroll 5
    for (int j = 0; j < 5; ++j) {
      v[j] = vld1q_u8(p + 64 * j);
      quad[j] = vandq_u8(v[j], vdupq_n_u8(31));
    }
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) quad[5 + j] = or_and(vshrq_n_u8(v[2 * j], 5), vshrq_n_u8(v[2 * j + 1], 3), 24);
    quad[7] = or_and(or_and(vshrq_n_u8(v[4], 5), vshrq_n_u8(v[1], 2), 8), vshrq_n_u8(v[3], 1), 16);
  }
  if constexpr (kBits == CodeBits::k4)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const uint8x16_t v = vld1q_u8(p + 64 * j);
      quad[j] = vandq_u8(v, vdupq_n_u8(15));
      quad[j + 4] = vshrq_n_u8(v, 4);
    }
  if constexpr (kBits == CodeBits::k3) {
    uint8x16_t v[3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      v[j] = vld1q_u8(p + 64 * j);
      quad[3 * j] = vandq_u8(v[j], vdupq_n_u8(7));
      quad[3 * j + 1] = vandq_u8(vshrq_n_u8(v[j], 3), vdupq_n_u8(7));
    }
    quad[2] = or_and(vshrq_n_u8(v[0], 6), vshrq_n_u8(v[2], 4), 4);
    quad[5] = or_and(vshrq_n_u8(v[1], 6), vshrq_n_u8(v[2], 5), 4);
  }
  if constexpr (kBits == CodeBits::k2)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const uint8x16_t v = vld1q_u8(p + 64 * j), bits = vdupq_n_u8(3);
      quad[2 * j] = vandq_u8(v, bits);
      quad[2 * j + 4] = vandq_u8(vshrq_n_u8(v, 2), bits);
      quad[2 * j + 1] = vandq_u8(vshrq_n_u8(v, 4), bits);
      quad[2 * j + 5] = vshrq_n_u8(v, 6);
    }
}

// The bytes that are multiplied: signed values, or codes that corrections belong to.
template <class P>
QF_INLINE void unpack_values(const unsigned char* p, int8x16_t (&quad)[8]) {
  uint8x16_t codes[8];
  unpack_chunk<P::kBits>(p, codes);
  uint8x16_t table = vdupq_n_u8(0);
  if constexpr (P::kTable != CodeTable::kNone) {
    static constexpr TableBytes kBytes = table_bytes(P::kTable);
    table = vld1q_u8(kBytes.bytes);
  }
  for (int g = 0; g < 8; ++g) {
    if constexpr (P::kTable != CodeTable::kNone) codes[g] = vqtbl1q_u8(table, codes[g]);
    if constexpr (is_signed<P>()) codes[g] = veorq_u8(codes[g], vdupq_n_u8(128));
    quad[g] = vreinterpretq_s8_u8(codes[g]);
  }
}

QF_INLINE float32x4_t load_halves(const unsigned char* p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }

// d of four rows, and m.  quarter: 0 .. 3
template <class P>
QF_INLINE float32x4_t load_d(const unsigned char* block, int quarter) {
  const unsigned char* p = block + 8 * quarter;
  if constexpr (P::kUnitParts == 0) return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
  if constexpr (P::kUnitParts > 1) return vmulq_n_f32(load_halves(p), 1.0f / P::kUnitParts);
  return load_halves(p);
}
QF_INLINE float32x4_t load_m(const unsigned char* block, int quarter) { return load_halves(block + 32 + 8 * quarter); }

QF_INLINE uint8x8_t four_bytes(const unsigned char* p) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return vreinterpret_u8_u32(vdup_n_u32(bits));
}

// Sub-scale and sub-minimum j of a block, as 32-bit integers.
template <class P>
QF_INLINE int32x4_t sub_scale(const unsigned char* block, int j, int quarter) {
  uint8x8_t bytes = four_bytes(sub_scales_at<P>(block, j) + 4 * quarter);
  if constexpr (P::kNibbles) bytes = vand_u8(bytes, vdup_n_u8(15));
  return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(bytes))));
}
template <class P>
QF_INLINE int32x4_t sub_minimum(const unsigned char* block, int j, int quarter) {
  uint8x8_t bytes = four_bytes(sub_minima_at<P>(block, j) + 4 * quarter);
  if constexpr (P::kNibbles) bytes = vshr_n_u8(bytes, 4);
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}

}  // namespace quantfleet::neon
