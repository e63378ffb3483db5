#include "backends/quantizers/super_block.h"

#include "backends/formats/half_float.h"
#include "backends/quantizers/block_packing.h"
#include "backends/quantizers/scale_search.h"
#include "backends/quantizers/scale_search_lanes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

template <class Block>
void assign_with_6bit_scales(const float x[256], std::uint8_t codes[256], Block& block, int code_max) {
  const float d = half_to_float(block.d), dmin = half_to_float(block.dmin);
  std::uint8_t scale_codes[8], min_codes[8];
  unpack_scales_6bit(block.scales, scale_codes, min_codes);
  float scales[8], mins[8];
  for (int j = 0; j < 8; ++j) {
    scales[j] = d * static_cast<float>(scale_codes[j]);
    mins[j] = dmin * static_cast<float>(min_codes[j]);
  }
  assign_all_unsigned(x, 8, scales, mins, code_max, codes);
  pack_codes(codes, block);
}

}  // namespace

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ2_K& block) {
  const float d = half_to_float(block.d), dmin = half_to_float(block.dmin);
  float scales[16], mins[16];
  for (int s = 0; s < 16; ++s) {
    scales[s] = d * static_cast<float>(block.scales[s] & 15);
    mins[s] = dmin * static_cast<float>(block.scales[s] >> 4);
  }
  assign_all_unsigned(x, 16, scales, mins, 3, codes);
  pack_codes(codes, block);
}

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ3_K& block) {
  const float d = half_to_float(block.d);
  std::int8_t scale_codes[16];
  unpack_scales_q3_k(block.scales, scale_codes);
  float scales[16];
  for (int s = 0; s < 16; ++s) scales[s] = d * static_cast<float>(scale_codes[s]);
  assign_all_signed(x, scales, 4, codes);
  pack_codes(codes, block);
}

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ4_K& block) { assign_with_6bit_scales(x, codes, block, 15); }

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ5_K& block) { assign_with_6bit_scales(x, codes, block, 31); }

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ6_K& block) {
  const float d = half_to_float(block.d);
  float scales[16];
  for (int s = 0; s < 16; ++s) scales[s] = d * static_cast<float>(block.scales[s]);
  assign_all_signed(x, scales, 32, codes);
  pack_codes(codes, block);
}

void assemble_q6_k(const float x[256], const float scales[16], std::uint8_t codes[256], BlockQ6_K& block) {
  float extreme = 0;
  for (int s = 0; s < 16; ++s)
    if (std::fabs(scales[s]) > std::fabs(extreme)) extreme = scales[s];
  if (std::fabs(extreme) < 1e-15f) {
    std::memset(&block, 0, sizeof block);
    return;
  }
  const float inverse = -128.0f / extreme;
  block.d = scale_to_half(1.0f / inverse);
  for (int s = 0; s < 16; ++s)
    block.scales[s] = static_cast<std::int8_t>(std::clamp(nearest_code(inverse * scales[s]), -128, 127));
  assign_codes(x, codes, block);
}

}  // namespace quantfleet
