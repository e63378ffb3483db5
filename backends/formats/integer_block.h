// A super-block of 256 values whose weights are integers under integer sub-scales, as those integers:
//   value e = d * scales[e / 16] * codes[e], exactly: every product of the three is a float without rounding.
// The i-quants and ternary formats define their values by this, and the integer kernels multiply the same codes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantfleet {

struct IntegerBlock {
  float d;
  std::int16_t scales[16];
  std::int8_t codes[256];
};

void unpack_iq1_s(const std::byte* block, IntegerBlock& out);
void unpack_iq1_m(const std::byte* block, IntegerBlock& out);
void unpack_iq2_xxs(const std::byte* block, IntegerBlock& out);
void unpack_iq2_xs(const std::byte* block, IntegerBlock& out);
void unpack_iq2_s(const std::byte* block, IntegerBlock& out);
void unpack_iq3_xxs(const std::byte* block, IntegerBlock& out);
void unpack_iq3_s(const std::byte* block, IntegerBlock& out);
void unpack_iq4_xs(const std::byte* block, IntegerBlock& out);
void unpack_tq1_0(const std::byte* block, IntegerBlock& out);
void unpack_tq2_0(const std::byte* block, IntegerBlock& out);

// The decoder of such a format.
template <auto Unpack, int kBytesPerBlock>
void decode_integer_blocks(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 256) {
    IntegerBlock block;
    Unpack(blocks + i * kBytesPerBlock, block);
    for (int e = 0; e < 256; ++e)
      values[e] = (block.d * static_cast<float>(block.scales[e / 16])) * static_cast<float>(block.codes[e]);
  }
}

}  // namespace quantfleet
