// Q4_1: 32 values share one binary16 scale and one binary16 minimum; each value is a 4-bit code.
//   value = d * code + m,  code in 0..15                          20 bytes per 32 values = 5 bits/value
// Low nibbles hold values 0..15, high nibbles values 16..31 (not interleaved).
// Spec: docs/formats/blocks-of-32.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 32) {
    BlockQ4_1 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    const float m = half_to_float(block.m);
    for (int j = 0; j < 16; ++j) {
      values[j] = d * static_cast<float>(block.qs[j] & 15) + m;
      values[j + 16] = d * static_cast<float>(block.qs[j] >> 4) + m;
    }
  }
}

}  // namespace

const BlockFormat kQ4_1{"Q4_1", 3, 32, sizeof(BlockQ4_1), 32, decode};

}  // namespace quantfleet
