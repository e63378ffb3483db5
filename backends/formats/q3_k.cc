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
    for (int e = 0; e < 256; ++e) {
      const int low = (block.qs[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3;
      const int code = low - ((block.hmask[e % 32] >> (e / 32)) & 1 ? 0 : 4);
      values[e] = (d * static_cast<float>(scales[e / 16])) * static_cast<float>(code);
    }
  }
}

}  // namespace

const BlockFormat kQ3_K{"Q3_K", 11, 256, sizeof(BlockQ3_K), 256, decode};

}  // namespace quantfleet
