// Q2_K to Q6_K without an importance matrix: a scale search per sub-block weighted by the values' own size, scales and minima
// stored relative to the largest of the super-block, then codes again for the stored scales.
// Source: the k-quants of llama.cpp, from docs/formats/quantizers.md.  Tests: tests/backends/quantizers/encoders_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/quantizers/block_packing.h"
#include "backends/quantizers/catalog.h"
#include "backends/quantizers/scale_search.h"
#include "backends/quantizers/scale_search_lanes.h"
#include "backends/quantizers/super_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

template <class Block, class EncodeBlock>
void for_each_block(const float* row, std::int64_t count_values, std::byte* out, EncodeBlock encode_block) {
  for (std::int64_t i = 0; i < count_values; i += 256, row += 256, out += sizeof(Block)) {
    Block block{};
    encode_block(row, block);
    std::memcpy(out, &block, sizeof block);
  }
}

// values[i] ~ result / code_max * codes[i], with the largest value at code_max; 0 when all are 0.
float quantize_to_largest(std::span<const float> values, int code_max, std::uint8_t* codes) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, value);
  const float inverse = largest > 0 ? static_cast<float>(code_max) / largest : 0.0f;
  for (std::size_t i = 0; i < values.size(); ++i)
    codes[i] = static_cast<std::uint8_t>(std::clamp(nearest_code(inverse * values[i]), 0, code_max));
  return largest / static_cast<float>(code_max);
}

template <class Block>
void encode_6bit_scales(const float x[256], Block& block, int code_max, Candidates candidates) {
  float scales[8], mins[8];
  std::uint8_t codes[256], scale_codes[8], min_codes[8];
  fit_all_with_minimum(x, nullptr, 8, code_max, candidates, scales, mins, codes);
  block.d = scale_to_half(quantize_to_largest(scales, 63, scale_codes));
  block.dmin = scale_to_half(quantize_to_largest(mins, 63, min_codes));
  pack_scales_6bit(scale_codes, min_codes, block.scales);
  assign_codes(x, codes, block);
}

}  // namespace

void encode_q2_k(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ2_K>(row, count_values, out, [](const float* x, BlockQ2_K& block) {
    float scales[16], mins[16];
    std::uint8_t codes[256], scale_codes[16], min_codes[16];
    fit_all_with_minimum(x, nullptr, 16, 3, {-0.5f, 0.1f, 15, true}, scales, mins, codes);
    block.d = scale_to_half(quantize_to_largest(scales, 15, scale_codes));
    block.dmin = scale_to_half(quantize_to_largest(mins, 15, min_codes));
    for (int s = 0; s < 16; ++s) block.scales[s] = static_cast<std::uint8_t>(scale_codes[s] | min_codes[s] << 4);
    assign_codes(x, codes, block);
  });
}

void encode_q3_k(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ3_K>(row, count_values, out, [](const float* x, BlockQ3_K& block) {
    std::uint8_t codes[256], scale_codes[16] = {};
    float scales[16], extreme = 0;
    fit_all_by_descent(x, 4, scales, codes);
    for (const float scale : scales)
      if (std::fabs(scale) > std::fabs(extreme)) extreme = scale;
    if (extreme != 0) {
      const float inverse = -32.0f / extreme;
      for (int s = 0; s < 16; ++s)
        scale_codes[s] = static_cast<std::uint8_t>(std::clamp(nearest_code(inverse * scales[s]), -32, 31) + 32);
      block.d = scale_to_half(1.0f / inverse);
    }
    pack_scales_q3_k(scale_codes, block.scales);
    assign_codes(x, codes, block);
  });
}

void encode_q4_k(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ4_K>(row, count_values, out,
                            [](const float* x, BlockQ4_K& block) { encode_6bit_scales(x, block, 15, {-1.0f, 0.1f, 20}); });
}

void encode_q5_k(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ5_K>(row, count_values, out,
                            [](const float* x, BlockQ5_K& block) { encode_6bit_scales(x, block, 31, {-0.5f, 0.1f, 15}); });
}

void encode_q6_k(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ6_K>(row, count_values, out, [](const float* x, BlockQ6_K& block) {
    std::uint8_t codes[256];
    float scales[16];
    fit_all_symmetric(x, 32, nullptr, scales, codes);
    assemble_q6_k(x, scales, codes, block);
  });
}

}  // namespace quantfleet
