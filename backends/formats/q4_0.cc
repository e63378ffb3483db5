// Q4_0: 32 values share one binary16 scale; each value is a 4-bit code with 8 for zero.
//   value = d * (code - 8),  code in 0..15                        18 bytes per 32 values = 4.5 bits/value
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
    BlockQ4_0 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    for (int j = 0; j < 16; ++j) {
      values[j] = d * static_cast<float>((block.qs[j] & 15) - 8);
      values[j + 16] = d * static_cast<float>((block.qs[j] >> 4) - 8);
    }
  }
}

}  // namespace

const BlockFormat kQ4_0{"Q4_0", 2, 32, sizeof(BlockQ4_0), 32, decode};

}  // namespace quantfleet
