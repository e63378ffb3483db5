// Round to nearest: one scale from the extreme value of the block (and one minimum), then rounding. The same rounding as
// llama.cpp's reference, so the bytes are the same: the inverse scale comes from the scale before it is rounded to binary16;
// Q4_x and Q5_x add a half and cut, Q8_0 rounds half away from zero. Blocks whose scale is zero or so small that its inverse
// overflows get the codes of the reference as observed, and decode to zero.
// Spec: docs/formats/quantizers.md.  Tests: tests/backends/quantizers/encoders_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/half_float.h"
#include "backends/quantizers/block_packing.h"
#include "backends/quantizers/catalog.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quantfleet {

namespace {

// Cuts towards zero to an 8-bit code; what does not fit an int32 (infinity, NaN) gives 0.
int cut(float value) {
  if (!(std::fabs(value) < 2147483648.0f)) return 0;
  return static_cast<std::int8_t>(static_cast<std::int32_t>(value));
}

std::uint8_t cut_code(float value, int code_max) { return static_cast<std::uint8_t>(std::min(code_max, cut(value))); }

float inverse_of(float scale) { return scale != 0 ? 1.0f / scale : 0.0f; }

float signed_extreme(const float* x) {
  float largest = 0, extreme = 0;
  for (int j = 0; j < 32; ++j) {
    if (!(std::fabs(x[j]) > largest)) continue;
    largest = std::fabs(x[j]);
    extreme = x[j];
  }
  return extreme;
}

template <class Block, class EncodeBlock>
void for_each_block(const float* row, std::int64_t count_values, std::byte* out, EncodeBlock encode_block) {
  for (std::int64_t i = 0; i < count_values; i += 32, row += 32, out += sizeof(Block)) {
    Block block;
    encode_block(row, block);
    std::memcpy(out, &block, sizeof block);
  }
}

// code = x / d + zero, zero = half the number of codes: Q4_0, Q5_0.
std::uint16_t encode_symmetric(const float* x, int zero, std::uint8_t codes[32]) {
  const float d = signed_extreme(x) / static_cast<float>(-zero);
  const float inverse = inverse_of(d);
  for (int j = 0; j < 32; ++j) codes[j] = cut_code(x[j] * inverse + (static_cast<float>(zero) + 0.5f), 2 * zero - 1);
  return scale_to_half(d);
}

// code = (x - minimum) / d: Q4_1, Q5_1.
void encode_with_minimum(const float* x, int code_max, std::uint8_t codes[32], std::uint16_t& d_half, std::uint16_t& m_half) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float minimum = *low;
  const float d = (*high - minimum) / static_cast<float>(code_max);
  const float inverse = inverse_of(d);
  for (int j = 0; j < 32; ++j) codes[j] = cut_code((x[j] - minimum) * inverse + 0.5f, code_max);
  d_half = scale_to_half(d);
  m_half = scale_to_half(minimum);
}

}  // namespace

void encode_f32(const float* row, std::int64_t count_values, std::byte* out) {
  std::memcpy(out, row, static_cast<std::size_t>(count_values) * sizeof(float));
}

void encode_f16(const float* row, std::int64_t count_values, std::byte* out) {
  for (std::int64_t i = 0; i < count_values; ++i) {
    const std::uint16_t bits = float_to_half(row[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

void encode_bf16(const float* row, std::int64_t count_values, std::byte* out) {
  for (std::int64_t i = 0; i < count_values; ++i) {
    const std::uint16_t bits = float_to_bfloat16(row[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

void encode_q8_0(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ8_0>(row, count_values, out, [](const float* x, BlockQ8_0& block) {
    const float d = std::fabs(signed_extreme(x)) / 127.0f;
    const float inverse = inverse_of(d);
    block.d = scale_to_half(d);
    for (int j = 0; j < 32; ++j) block.qs[j] = static_cast<std::int8_t>(cut(std::round(x[j] * inverse)));
  });
}

void encode_q4_0(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ4_0>(row, count_values, out, [](const float* x, BlockQ4_0& block) {
    std::uint8_t codes[32];
    block.d = encode_symmetric(x, 8, codes);
    pack_nibbles(codes, block.qs);
  });
}

void encode_q5_0(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ5_0>(row, count_values, out, [](const float* x, BlockQ5_0& block) {
    std::uint8_t codes[32];
    block.d = encode_symmetric(x, 16, codes);
    pack_nibbles(codes, block.qs);
    pack_fifth_bits(codes, block.qh);
  });
}

void encode_q4_1(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ4_1>(row, count_values, out, [](const float* x, BlockQ4_1& block) {
    std::uint8_t codes[32];
    encode_with_minimum(x, 15, codes, block.d, block.m);
    pack_nibbles(codes, block.qs);
  });
}

void encode_q5_1(const float* row, std::int64_t count_values, std::byte* out) {
  for_each_block<BlockQ5_1>(row, count_values, out, [](const float* x, BlockQ5_1& block) {
    std::uint8_t codes[32];
    encode_with_minimum(x, 31, codes, block.d, block.m);
    pack_nibbles(codes, block.qs);
    pack_fifth_bits(codes, block.qh);
  });
}

}  // namespace quantfleet
