#include "backends/quantizers/super_block.h"

#include "backends/formats/half_float.h"
#include "backends/quantizers/block_packing.h"
#include "backends/quantizers/scale_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

// code = (x + minimum) / scale over one sub-block.
void assign_unsigned(const float* x, int count, float scale, float minimum, int code_max, std::uint8_t* codes) {
  if (scale == 0) return;
  for (int l = 0; l < count; ++l)
    codes[l] = static_cast<std::uint8_t>(std::clamp(nearest_code((x[l] + minimum) / scale), 0, code_max));
}

// code = x / scale + code_limit over one sub-block.
void assign_signed(const float* x, int count, float scale, int code_limit, std::uint8_t* codes) {
  if (scale == 0) return;
  for (int l = 0; l < count; ++l)
    codes[l] = static_cast<std::uint8_t>(std::clamp(nearest_code(x[l] / scale), -code_limit, code_limit - 1) + code_limit);
}

template <class Block>
void assign_with_6bit_scales(const float x[256], std::uint8_t codes[256], Block& block, int code_max) {
  const float d = half_to_float(block.d), dmin = half_to_float(block.dmin);
  std::uint8_t scales[8], mins[8];
  unpack_scales_6bit(block.scales, scales, mins);
  for (int j = 0; j < 8; ++j)
    assign_unsigned(x + 32 * j, 32, d * static_cast<float>(scales[j]), dmin * static_cast<float>(mins[j]), code_max, codes + 32 * j);
  pack_codes(codes, block);
}

}  // namespace

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ2_K& block) {
  const float d = half_to_float(block.d), dmin = half_to_float(block.dmin);
  for (int s = 0; s < 16; ++s)
    assign_unsigned(x + 16 * s, 16, d * static_cast<float>(block.scales[s] & 15), dmin * static_cast<float>(block.scales[s] >> 4), 3,
                    codes + 16 * s);
  pack_codes(codes, block);
}

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ3_K& block) {
  const float d = half_to_float(block.d);
  std::int8_t scales[16];
  unpack_scales_q3_k(block.scales, scales);
  for (int s = 0; s < 16; ++s) assign_signed(x + 16 * s, 16, d * static_cast<float>(scales[s]), 4, codes + 16 * s);
  pack_codes(codes, block);
}

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ4_K& block) { assign_with_6bit_scales(x, codes, block, 15); }

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ5_K& block) { assign_with_6bit_scales(x, codes, block, 31); }

void assign_codes(const float x[256], std::uint8_t codes[256], BlockQ6_K& block) {
  const float d = half_to_float(block.d);
  for (int s = 0; s < 16; ++s) assign_signed(x + 16 * s, 16, d * static_cast<float>(block.scales[s]), 32, codes + 16 * s);
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
