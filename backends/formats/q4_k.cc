// Q4_K: 256 values in 8 sub-blocks of 32; each value is a 4-bit code, each sub-block has a 6-bit scale and a 6-bit minimum.
//   value = (d * scale) * code - (dmin * minimum)                 144 bytes per 256 values = 4.5 bits/value
// Sub-blocks 2 g and 2 g + 1 are the low and the high nibbles of qs[32 g .. 32 g + 31]. The packing of scales and minima is
// told at unpack_scales_6bit.
// Spec: docs/formats/k-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 256) {
    BlockQ4_K block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    std::uint8_t scales[8], mins[8];
    unpack_scales_6bit(block.scales, scales, mins);
    for (int j = 0; j < 8; ++j) {
      const float scale = d * static_cast<float>(scales[j]);
      const float minimum = dmin * static_cast<float>(mins[j]);
      const std::uint8_t* qs = block.qs + 32 * (j / 2);
      for (int l = 0; l < 32; ++l) values[32 * j + l] = scale * static_cast<float>((qs[l] >> (4 * (j % 2))) & 15) - minimum;
    }
  }
}

}  // namespace

const BlockFormat kQ4_K{"Q4_K", 12, 256, sizeof(BlockQ4_K), 256, decode};

}  // namespace quantfleet
