// Q2_K: 256 values in 16 sub-blocks of 16; each value is a 2-bit code, each sub-block has a 4-bit scale and a 4-bit minimum.
//   value = (d * scale) * code - dmin * minimum                   84 bytes per 256 values = 2.625 bits/value
// scales[s]: scale of sub-block s in the low nibble, minimum in the high one.
// Value e = 128 h + 32 k + l: its code is (qs[32 h + l] >> 2 k) & 3.
// Spec: docs/formats/k-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 256) {
    BlockQ2_K block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    for (int e = 0; e < 256; ++e) {
      const int code = (block.qs[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3;
      const std::uint8_t scale = block.scales[e / 16];
      values[e] = (d * static_cast<float>(scale & 15)) * static_cast<float>(code) - dmin * static_cast<float>(scale >> 4);
    }
  }
}

}  // namespace

const BlockFormat kQ2_K{"Q2_K", 10, 256, sizeof(BlockQ2_K), 256, decode};

}  // namespace quantfleet
