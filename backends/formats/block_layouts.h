// The bytes of one block of each quantized GGUF format, as structures: decoders, encoders and kernels share them. Copy a
// block in or out with memcpy; blocks in a file have no alignment. d, dmin and m are IEEE binary16 (half_float.h). What the
// fields mean stands in the format's own file and in docs/formats/.
#pragma once

#include <bit>
#include <cstdint>

namespace quantfleet {

static_assert(std::endian::native == std::endian::little, "weight formats are little-endian and are copied as they are");

struct BlockQ4_0 { std::uint16_t d; std::uint8_t qs[16]; };
struct BlockQ4_1 { std::uint16_t d, m; std::uint8_t qs[16]; };
struct BlockQ5_0 { std::uint16_t d; std::uint8_t qh[4], qs[16]; };
struct BlockQ5_1 { std::uint16_t d, m; std::uint8_t qh[4], qs[16]; };
struct BlockQ8_0 { std::uint16_t d; std::int8_t qs[32]; };
struct BlockQ2_K { std::uint8_t scales[16], qs[64]; std::uint16_t d, dmin; };
struct BlockQ3_K { std::uint8_t hmask[32], qs[64], scales[12]; std::uint16_t d; };
struct BlockQ4_K { std::uint16_t d, dmin; std::uint8_t scales[12], qs[128]; };
struct BlockQ5_K { std::uint16_t d, dmin; std::uint8_t scales[12], qh[32], qs[128]; };
struct BlockIQ4_NL { std::uint16_t d; std::uint8_t qs[16]; };
struct BlockQ1_0 { std::uint16_t d; std::uint8_t qs[16]; };
struct BlockQ2_0 { std::uint16_t d; std::uint8_t qs[16]; };
struct BlockMXFP4 { std::uint8_t e, qs[16]; };
struct BlockNVFP4 { std::uint8_t d[4], qs[32]; };
struct BlockQ6_K { std::uint8_t ql[128], qh[64]; std::int8_t scales[16]; std::uint16_t d; };
struct BlockIQ2_XXS { std::uint16_t d; std::uint8_t qs[64]; };
struct BlockIQ2_XS { std::uint16_t d, qs[32]; std::uint8_t scales[8]; };
struct BlockIQ2_S { std::uint16_t d; std::uint8_t qs[32], signs[32], qh[8], scales[8]; };
struct BlockIQ3_XXS { std::uint16_t d; std::uint8_t qs[64], scales_signs[32]; };
struct BlockIQ3_S { std::uint16_t d; std::uint8_t qs[64], qh[8], signs[32], scales[4]; };
struct BlockIQ1_S { std::uint16_t d; std::uint8_t qs[32]; std::uint16_t qh[8]; };
struct BlockIQ1_M { std::uint8_t qs[32], qh[16]; std::uint16_t scales[4]; };
struct BlockIQ4_XS { std::uint16_t d, scales_h; std::uint8_t scales_l[4], qs[128]; };
struct BlockTQ1_0 { std::uint8_t qs[48], qh[4]; std::uint16_t d; };
struct BlockTQ2_0 { std::uint8_t qs[64]; std::uint16_t d; };

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110);
static_assert(sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);
static_assert(sizeof(BlockIQ4_NL) == 18 && sizeof(BlockQ1_0) == 18 && sizeof(BlockQ2_0) == 18 && sizeof(BlockMXFP4) == 17);
static_assert(sizeof(BlockNVFP4) == 36 && sizeof(BlockIQ2_XXS) == 66 && sizeof(BlockIQ2_XS) == 74 && sizeof(BlockIQ2_S) == 82);
static_assert(sizeof(BlockIQ3_XXS) == 98 && sizeof(BlockIQ3_S) == 110 && sizeof(BlockIQ1_S) == 50 && sizeof(BlockIQ1_M) == 56);
static_assert(sizeof(BlockIQ4_XS) == 136 && sizeof(BlockTQ1_0) == 54 && sizeof(BlockTQ2_0) == 66);

// Q4_K and Q5_K keep eight 6-bit scales and eight 6-bit minima in twelve bytes b:
//   j = 0..3: scale b[j] & 63, minimum b[j+4] & 63
//   j = 4..7: low four bits in b[j+4] (scale low nibble, minimum high nibble), high two bits in b[j-4] and b[j] bits 6-7
[[maybe_unused]] static inline void unpack_scales_6bit(const std::uint8_t b[12], std::uint8_t scales[8], std::uint8_t mins[8]) {
  for (int j = 0; j < 4; ++j) {
    scales[j] = b[j] & 63;
    mins[j] = b[j + 4] & 63;
    scales[j + 4] = static_cast<std::uint8_t>((b[j + 8] & 15) | ((b[j] >> 6) << 4));
    mins[j + 4] = static_cast<std::uint8_t>((b[j + 8] >> 4) | ((b[j + 4] >> 6) << 4));
  }
}

// Q3_K keeps sixteen 6-bit scales (stored + 32) in twelve bytes b: the low nibbles of scales 0-7 and 8-15 in b[0..7], the high
// pairs of bits of scales s = 0..15 in b[8 + s % 4] at bit 2 (s / 4).
[[maybe_unused]] static inline void unpack_scales_q3_k(const std::uint8_t b[12], std::int8_t scales[16]) {
  for (int s = 0; s < 16; ++s) {
    const int low = s < 8 ? b[s] & 15 : b[s - 8] >> 4;
    const int high = (b[8 + s % 4] >> (2 * (s / 4))) & 3;
    scales[s] = static_cast<std::int8_t>((low | (high << 4)) - 32);
  }
}

}  // namespace quantfleet
