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
    for (int s = 0; s < 16; ++s) {
      const std::uint8_t* qs = block.qs + 32 * (s / 8) + 16 * (s % 2);
      const int plane = 2 * (s % 8 / 2);
      const float scale = d * static_cast<float>(block.scales[s] & 15), minimum = dmin * static_cast<float>(block.scales[s] >> 4);
      for (int l = 0; l < 16; ++l) values[16 * s + l] = scale * static_cast<float>((qs[l] >> plane) & 3) - minimum;
    }
  }
}

}  // namespace

const BlockFormat kQ2_K{"Q2_K", 10, 256, sizeof(BlockQ2_K), 256, decode};

}  // namespace quantfleet
