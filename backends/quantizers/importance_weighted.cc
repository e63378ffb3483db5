// The quantizers that know how much each column matters: importance[i] is the mean squared activation that meets column i
// (an importance matrix), and the error of value x counts importance * sqrt(sigma^2 + x^2), where sigma^2 is the mean square
// of the block, twice it, or that of the row, as the format's reference has it. Scales and minima of the sub-blocks are
// quantized by a weighted search too. Rows of denormal size stay finite.
// Source: the k-quants of llama.cpp, from docs/formats/quantizers.md.  Tests: tests/backends/quantizers/encoders_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/quantizers/block_packing.h"
#include "backends/quantizers/catalog.h"
#include "backends/quantizers/scale_search.h"
#include "backends/quantizers/scale_search_lanes.h"
#include "backends/quantizers/super_block.h"

#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

constexpr Candidates kCandidates{-0.9f, 0.05f, 36};

float sum_of_squares(const float* x, std::int64_t count) {
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
  return sum;
}

// weights[l] of `count` values; returns their sum.
float weigh(const float* x, const float* importance, int count, float sigma2, float* weights) {
  float sum = 0;
  for (int l = 0; l < count; ++l) {
    weights[l] = importance[l] * std::sqrt(sigma2 + x[l] * x[l]);
    sum += weights[l];
  }
  return sum;
}

// Block by block with the block's part of the importance; sigma2 is the mean square of the row.
template <class Block, int kValues, class EncodeBlock>
void for_each_block(const float* row, std::int64_t count_values, const float* importance, std::byte* out, EncodeBlock encode_block) {
  const float sigma2 = sum_of_squares(row, count_values) / static_cast<float>(count_values);
  for (std::int64_t i = 0; i < count_values; i += kValues, out += sizeof(Block)) {
    Block block{};
    encode_block(row + i, importance + i, sigma2, block);
    std::memcpy(out, &block, sizeof block);
  }
}

std::uint16_t encode_symmetric(const float* x, const float* importance, float sigma2, int zero, std::uint8_t codes[32]) {
  float weights[32];
  weigh(x, importance, 32, sigma2, weights);
  return scale_to_half(fit_symmetric({x, 32}, zero, weights, codes));
}

void encode_with_minimum(const float* x, const float* importance, float sigma2, int code_max, std::uint8_t codes[32],
                         std::uint16_t& d, std::uint16_t& m) {
  float weights[32];
  weigh(x, importance, 32, sigma2, weights);
  const ScaleAndMinimum fit = fit_with_minimum({x, 32}, weights, code_max, kCandidates, codes);
  d = scale_to_half(fit.scale);
  m = scale_to_half(-fit.minimum);
}

template <class Block>
void encode_6bit_scales(const float* x, const float* importance, int code_max, Block& block) {
  const float sigma2 = 2 * sum_of_squares(x, 256) / 256;
  float scales[8], mins[8], sums[8], weights[256];
  std::uint8_t codes[256], scale_codes[8], min_codes[8];
  for (int j = 0; j < 8; ++j) sums[j] = weigh(x + 32 * j, importance + 32 * j, 32, sigma2, weights + 32 * j);
  fit_all_with_minimum(x, weights, 8, code_max, kCandidates, scales, mins, codes);
  block.d = scale_to_half(fit_positive(scales, sums, 63, scale_codes));
  block.dmin = scale_to_half(fit_positive(mins, sums, 63, min_codes));
  pack_scales_6bit(scale_codes, min_codes, block.scales);
  assign_codes(x, codes, block);
}

}  // namespace

void encode_q4_0_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ4_0, 32>(row, count_values, importance, out,
                                [](const float* x, const float* weight, float sigma2, BlockQ4_0& block) {
                                  std::uint8_t codes[32];
                                  block.d = encode_symmetric(x, weight, sigma2, 8, codes);
                                  pack_nibbles(codes, block.qs);
                                });
}

void encode_q5_0_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ5_0, 32>(row, count_values, importance, out,
                                [](const float* x, const float* weight, float sigma2, BlockQ5_0& block) {
                                  std::uint8_t codes[32];
                                  block.d = encode_symmetric(x, weight, sigma2, 16, codes);
                                  pack_nibbles(codes, block.qs);
                                  pack_fifth_bits(codes, block.qh);
                                });
}

void encode_q4_1_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ4_1, 32>(row, count_values, importance, out,
                                [](const float* x, const float* weight, float sigma2, BlockQ4_1& block) {
                                  std::uint8_t codes[32];
                                  encode_with_minimum(x, weight, sigma2, 15, codes, block.d, block.m);
                                  pack_nibbles(codes, block.qs);
                                });
}

void encode_q5_1_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ5_1, 32>(row, count_values, importance, out,
                                [](const float* x, const float* weight, float sigma2, BlockQ5_1& block) {
                                  std::uint8_t codes[32];
                                  encode_with_minimum(x, weight, sigma2, 31, codes, block.d, block.m);
                                  pack_nibbles(codes, block.qs);
                                  pack_fifth_bits(codes, block.qh);
                                });
}

void encode_q2_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ2_K, 256>(
      row, count_values, importance, out, [](const float* x, const float* weight, float, BlockQ2_K& block) {
        const float sigma2 = sum_of_squares(x, 256) / 256;
        float scales[16], mins[16], sums[16], weights[256];
        std::uint8_t codes[256], scale_codes[16], min_codes[16];
        for (int s = 0; s < 16; ++s) sums[s] = weigh(x + 16 * s, weight + 16 * s, 16, sigma2, weights + 16 * s);
        fit_all_with_minimum(x, weights, 16, 3, kCandidates, scales, mins, codes);
        block.d = scale_to_half(fit_positive(scales, sums, 15, scale_codes));
        block.dmin = scale_to_half(fit_positive(mins, sums, 15, min_codes));
        for (int s = 0; s < 16; ++s) block.scales[s] = static_cast<std::uint8_t>(scale_codes[s] | min_codes[s] << 4);
        assign_codes(x, codes, block);
      });
}

void encode_q3_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ3_K, 256>(
      row, count_values, importance, out, [](const float* x, const float* weight, float, BlockQ3_K& block) {
        const float sigma2 = 2 * sum_of_squares(x, 256) / 256;
        float scales[16], sums[16], weights[256];
        std::uint8_t codes[256], scale_codes[16];
        for (int s = 0; s < 16; ++s) sums[s] = weigh(x + 16 * s, weight + 16 * s, 16, sigma2, weights + 16 * s);
        fit_all_symmetric(x, 4, weights, scales, codes);
        block.d = scale_to_half(fit_symmetric(scales, 32, sums, scale_codes));
        pack_scales_q3_k(scale_codes, block.scales);
        assign_codes(x, codes, block);
      });
}

void encode_q4_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ4_K, 256>(row, count_values, importance, out,
                                 [](const float* x, const float* weight, float, BlockQ4_K& block) { encode_6bit_scales(x, weight, 15, block); });
}

void encode_q5_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ5_K, 256>(row, count_values, importance, out,
                                 [](const float* x, const float* weight, float, BlockQ5_K& block) { encode_6bit_scales(x, weight, 31, block); });
}

void encode_q6_k_weighted(const float* row, std::int64_t count_values, const float* importance, std::byte* out) {
  for_each_block<BlockQ6_K, 256>(row, count_values, importance, out, [](const float* x, const float* weight, float, BlockQ6_K& block) {
    std::uint8_t codes[256];
    float scales[16];
    fit_all_symmetric(x, 32, weight, scales, codes);
    assemble_q6_k(x, scales, codes, block);
  });
}

}  // namespace quantfleet
