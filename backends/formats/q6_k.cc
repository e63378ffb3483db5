// Q6_K: 256 values in 16 sub-blocks of 16; each value is a 6-bit code with 32 for zero, each sub-block has a signed 8-bit scale.
//   value = (d * scale) * (code - 32)                             210 bytes per 256 values = 6.5625 bits/value
// Value e = 128 h + 32 k + l: low four bits in ql[64 h + 32 (k % 2) + l] (low nibble for k < 2, else the high one), high two
// bits (qh[32 h + l] >> 2 k) & 3.
// Spec: docs/formats/k-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 256) {
    BlockQ6_K block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    for (int s = 0; s < 16; ++s) {
      const int half = s / 8, quarter = s % 8 / 2;  // of 128 and of 32 values
      const std::uint8_t* low = block.ql + 64 * half + 32 * (quarter % 2) + 16 * (s % 2);
      const std::uint8_t* high = block.qh + 32 * half + 16 * (s % 2);
      const int nibble = 4 * (quarter / 2), plane = 2 * quarter;
      const float scale = d * static_cast<float>(block.scales[s]);
      for (int l = 0; l < 16; ++l) {
        const int code = ((low[l] >> nibble) & 15) | ((high[l] >> plane) & 3) << 4;
        values[16 * s + l] = scale * static_cast<float>(code - 32);
      }
    }
  }
}

}  // namespace

const BlockFormat kQ6_K{"Q6_K", 14, 256, sizeof(BlockQ6_K), 256, decode};

}  // namespace quantfleet
