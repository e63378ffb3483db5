// From codes and scales to the bytes of a block: the inverse of the decoders' unpacking, shared by all quantizers.
#pragma once

#include "backends/formats/block_layouts.h"

#include <cstdint>

namespace quantfleet {

// binary16 of a scale or minimum. One beyond 65504 saturates instead of becoming infinity, and NaN (a search over values whose
// squares overflow) becomes 0: what is decoded is always finite. quantize_model refuses such values beforehand.
std::uint16_t scale_to_half(float value);

// codes: 32 or 256 unsigned codes of the format's width, in the order of the values.
void pack_nibbles(const std::uint8_t codes[32], std::uint8_t qs[16]);                             // Q4_0, Q4_1; low bits of Q5_x
void pack_fifth_bits(const std::uint8_t codes[32], std::uint8_t qh[4]);                           // Q5_0, Q5_1
void pack_codes(const std::uint8_t codes[256], BlockQ2_K& block);
void pack_codes(const std::uint8_t codes[256], BlockQ3_K& block);                                 // code + 4
void pack_codes(const std::uint8_t codes[256], BlockQ4_K& block);
void pack_codes(const std::uint8_t codes[256], BlockQ5_K& block);
void pack_codes(const std::uint8_t codes[256], BlockQ6_K& block);                                 // code + 32
void pack_scales_6bit(const std::uint8_t scales[8], const std::uint8_t mins[8], std::uint8_t b[12]);  // Q4_K, Q5_K
void pack_scales_q3_k(const std::uint8_t scales[16], std::uint8_t b[12]);                         // scale + 32

}  // namespace quantfleet
