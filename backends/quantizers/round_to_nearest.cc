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
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace quantfleet {

namespace {

// The loops over a block have no branches, so that they become vectors. Where a range or the inverse of a scale overflows, products
// are infinite or NaN, which the reference cuts to zero: all codes are 0.
bool is_finite(float value) { return std::fabs(value) <= std::numeric_limits<float>::max(); }

float inverse_of(float scale) { return scale != 0 ? 1.0f / scale : 0.0f; }

// The largest float below 1/2: the sum with it, cut, rounds half away from zero. (The sum with 1/2 would round this very number up.)
constexpr float kBelowHalf = 0x1.fffffep-2f;

struct Range {
  float low, high;
};

// Smallest and largest of 32 values, as sixteen pairs that are then joined; of -0 and 0 either.
Range range_of(const float* x) {
  float low[16], high[16];
  for (int j = 0; j < 16; ++j) {
    low[j] = x[j + 16] < x[j] ? x[j + 16] : x[j];
    high[j] = x[j + 16] > x[j] ? x[j + 16] : x[j];
  }
  for (int n = 8; n > 0; n /= 2)
    for (int j = 0; j < n; ++j) {
      low[j] = low[j + n] < low[j] ? low[j + n] : low[j];
      high[j] = high[j + n] > high[j] ? high[j + n] : high[j];
    }
  return {low[0], high[0]};
}

float largest_magnitude(const float* x) {
  std::int32_t bits[32];
  for (int j = 0; j < 32; ++j) bits[j] = std::bit_cast<std::int32_t>(x[j]) & 0x7fffffff;
  for (int n = 16; n > 0; n /= 2)
    for (int j = 0; j < n; ++j) bits[j] = bits[j + n] > bits[j] ? bits[j + n] : bits[j];
  return std::bit_cast<float>(bits[0]);
}

// The value of largest magnitude, the first of equals; 0 when all are 0.
float signed_extreme(const float* x) {
  const Range range = range_of(x);
  if (range.high > -range.low) return range.high;
  if (range.high < -range.low) return range.low;
  const float* first = std::find_if(x, x + 32, [&](float value) { return std::fabs(value) == range.high; });
  return range.high > 0 ? *first : 0.0f;
}

// code = cut(x * inverse + shift), at most code_max.
void cut_codes(const float* x, float minimum, float inverse, float shift, int code_max, std::uint8_t codes[32]) {
  for (int j = 0; j < 32; ++j) {
    const auto code = static_cast<std::int32_t>((x[j] - minimum) * inverse + shift);
    codes[j] = static_cast<std::uint8_t>(code < code_max ? code : code_max);
  }
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
  if (is_finite(inverse)) cut_codes(x, 0.0f, inverse, static_cast<float>(zero) + 0.5f, 2 * zero - 1, codes);
  else std::memset(codes, 0, 32);
  return scale_to_half(d);
}

// code = (x - minimum) / d: Q4_1, Q5_1.
void encode_with_minimum(const float* x, int code_max, std::uint8_t codes[32], std::uint16_t& d_half, std::uint16_t& m_half) {
  Range range = range_of(x);
  if (range.low == 0) {  // which zero is stored: the first one
    const auto [low, high] = std::minmax_element(x, x + 32);
    range = {*low, *high};
  }
  const float minimum = range.low;
  const float d = (range.high - minimum) / static_cast<float>(code_max);
  const float inverse = inverse_of(d);
  if (is_finite(inverse) && is_finite(d)) cut_codes(x, minimum, inverse, 0.5f, code_max, codes);
  else std::memset(codes, 0, 32);
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
    const float d = largest_magnitude(x) / 127.0f;
    const float inverse = is_finite(inverse_of(d)) ? inverse_of(d) : 0.0f;
    block.d = scale_to_half(d);
    for (int j = 0; j < 32; ++j) {
      const float value = x[j] * inverse;
      block.qs[j] = static_cast<std::int8_t>(static_cast<std::int32_t>(value + std::copysign(kBelowHalf, value)));
    }
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
