// Q8_0: 32 values share one binary16 scale; each value is a signed 8-bit code.
//   value = d * code                                              34 bytes per 32 values = 8.5 bits/value
// Spec: docs/formats/blocks-of-32.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 32) {
    BlockQ8_0 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    for (int j = 0; j < 32; ++j) values[j] = d * static_cast<float>(block.qs[j]);
  }
}

}  // namespace

const BlockFormat kQ8_0{"Q8_0", 8, 32, sizeof(BlockQ8_0), 32, decode};

}  // namespace quantfleet
