// Q3_K: 256 values in 16 sub-blocks of 16; each value is a signed 3-bit code, each sub-block has a signed 6-bit scale.
//   value = (d * (scale - 32)) * code,  code in -4..3             110 bytes per 256 values = 3.4375 bits/value
// Value e = 128 h + 32 k + l: low two bits (qs[32 h + l] >> 2 k) & 3; bit 4 h + k of hmask[l] says that 4 is NOT subtracted.
// The packing of the scales is told at unpack_scales_q3_k.
// Spec: docs/formats/k-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 256) {
    BlockQ3_K block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    std::int8_t scales[16];
    unpack_scales_q3_k(block.scales, scales);
    for (int s = 0; s < 16; ++s) {
      const std::uint8_t* qs = block.qs + 32 * (s / 8) + 16 * (s % 2);
      const std::uint8_t* high = block.hmask + 16 * (s % 2);
      const int plane = 2 * (s % 8 / 2), bit = s / 2;
      const float scale = d * static_cast<float>(scales[s]);
      for (int l = 0; l < 16; ++l) {
        const int code = ((qs[l] >> plane) & 3) | ((high[l] >> bit) & 1) << 2;
        values[16 * s + l] = scale * static_cast<float>(code - 4);
      }
    }
  }
}

}  // namespace

const BlockFormat kQ3_K{"Q3_K", 11, 256, sizeof(BlockQ3_K), 256, decode};

}  // namespace quantfleet
