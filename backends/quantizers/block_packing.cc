#include "backends/quantizers/block_packing.h"

#include "backends/formats/half_float.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

std::uint8_t byte(unsigned value) { return static_cast<std::uint8_t>(value); }

// Four 2-bit planes: value 128 h + 32 k + l goes to bits 2 k of qs[32 h + l].
void pack_planes(const std::uint8_t codes[256], std::uint8_t qs[64], int shift, unsigned mask) {
  for (int h = 0; h < 2; ++h)
    for (int l = 0; l < 32; ++l) {
      unsigned planes = 0;
      for (int k = 0; k < 4; ++k) planes |= ((static_cast<unsigned>(codes[128 * h + 32 * k + l]) >> shift) & mask) << (2 * k);
      qs[32 * h + l] = byte(planes);
    }
}

// Sub-blocks of 32 in pairs: the even one in the low nibbles, the odd one in the high nibbles.
void pack_nibble_pairs(const std::uint8_t codes[256], std::uint8_t qs[128]) {
  for (int g = 0; g < 4; ++g)
    for (int l = 0; l < 32; ++l) qs[32 * g + l] = byte((codes[64 * g + l] & 15u) | (codes[64 * g + 32 + l] & 15u) << 4);
}

}  // namespace

std::uint16_t scale_to_half(float value) {
  if (std::isnan(value)) return 0;
  return float_to_half(std::clamp(value, -65504.0f, 65504.0f));
}

void pack_nibbles(const std::uint8_t codes[32], std::uint8_t qs[16]) {
  for (int j = 0; j < 16; ++j) qs[j] = byte((codes[j] & 15u) | (codes[j + 16] & 15u) << 4);
}

void pack_fifth_bits(const std::uint8_t codes[32], std::uint8_t qh[4]) {
  std::uint32_t bits = 0;
  for (int j = 0; j < 32; ++j) bits |= static_cast<std::uint32_t>(codes[j] >> 4) << j;
  std::memcpy(qh, &bits, sizeof bits);
}

void pack_codes(const std::uint8_t codes[256], BlockQ2_K& block) { pack_planes(codes, block.qs, 0, 3); }

void pack_codes(const std::uint8_t codes[256], BlockQ3_K& block) {
  pack_planes(codes, block.qs, 0, 3);
  for (int l = 0; l < 32; ++l) {
    unsigned bits = 0;
    for (int j = 0; j < 8; ++j) bits |= (codes[32 * j + l] >> 2 & 1u) << j;
    block.hmask[l] = byte(bits);
  }
}

void pack_codes(const std::uint8_t codes[256], BlockQ4_K& block) { pack_nibble_pairs(codes, block.qs); }

void pack_codes(const std::uint8_t codes[256], BlockQ5_K& block) {
  pack_nibble_pairs(codes, block.qs);
  for (int l = 0; l < 32; ++l) {
    unsigned bits = 0;
    for (int j = 0; j < 8; ++j) bits |= (codes[32 * j + l] >> 4 & 1u) << j;
    block.qh[l] = byte(bits);
  }
}

void pack_codes(const std::uint8_t codes[256], BlockQ6_K& block) {
  pack_planes(codes, block.qh, 4, 3);
  for (int h = 0; h < 2; ++h)
    for (int m = 0; m < 64; ++m) block.ql[64 * h + m] = byte((codes[128 * h + m] & 15u) | (codes[128 * h + 64 + m] & 15u) << 4);
}

void pack_scales_6bit(const std::uint8_t scales[8], const std::uint8_t mins[8], std::uint8_t b[12]) {
  for (int j = 0; j < 4; ++j) {
    b[j] = byte(scales[j] | (scales[j + 4] >> 4) << 6);
    b[j + 4] = byte(mins[j] | (mins[j + 4] >> 4) << 6);
    b[j + 8] = byte((scales[j + 4] & 15u) | (mins[j + 4] & 15u) << 4);
  }
}

void pack_scales_q3_k(const std::uint8_t scales[16], std::uint8_t b[12]) {
  std::memset(b, 0, 12);
  for (int s = 0; s < 16; ++s) {
    b[s % 8] = byte(b[s % 8] | (scales[s] & 15u) << (s < 8 ? 0 : 4));
    b[8 + s % 4] = byte(b[8 + s % 4] | (scales[s] >> 4 & 3u) << (2 * (s / 4)));
  }
}

}  // namespace quantfleet
