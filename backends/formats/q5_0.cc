// Q5_0: 32 values share one binary16 scale; each value is a 5-bit code with 16 for zero.
//   value = d * (code - 16),  code in 0..31                       22 bytes per 32 values = 5.5 bits/value
// The low four bits lie in qs as in Q4_0; bit j of the little-endian word qh is the fifth bit of value j.
// Spec: docs/formats/blocks-of-32.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 32) {
    BlockQ5_0 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    std::uint32_t high;
    std::memcpy(&high, block.qh, sizeof high);
    for (int j = 0; j < 16; ++j) {
      const int low_code = (block.qs[j] & 15) | static_cast<int>(((high >> j) & 1) << 4);
      const int high_code = (block.qs[j] >> 4) | static_cast<int>(((high >> (j + 16)) & 1) << 4);
      values[j] = d * static_cast<float>(low_code - 16);
      values[j + 16] = d * static_cast<float>(high_code - 16);
    }
  }
}

}  // namespace

const BlockFormat kQ5_0{"Q5_0", 6, 32, sizeof(BlockQ5_0), 32, decode};

}  // namespace quantfleet
