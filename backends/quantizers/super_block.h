// What the k-quants share once each sub-block has a scale (and a minimum): codes chosen again for the scales as they are
// stored, so that the rounding of the scales does not add to the error.
#pragma once

#include "backends/formats/block_layouts.h"

#include <cstdint>

namespace quantfleet {

// Each: block.d, block.dmin and block.scales are set; codes hold those of the scale search and are replaced, except in
// sub-blocks whose stored scale is zero. Packs them into the block.
void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ2_K& block);
void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ3_K& block);
void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ4_K& block);
void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ5_K& block);
void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ6_K& block);

// Sub-block scales of Q6_K to its signed 8-bit scales and d, then codes. All scales about zero: a zero block.
void assemble_q6_k(const float x[256], const float scales[16], std::uint8_t codes[256], BlockQ6_K& block);

}  // namespace quantfleet
