// Q2_0: 64 two-bit codes share one binary16 scale.
//   value = d * (code - 1): -d, 0, d, 2 d                         18 bytes per 64 values = 2.25 bits/value
// Spec: docs/formats/ternary.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 64) {
    BlockQ2_0 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    for (int j = 0; j < 64; ++j) values[j] = d * static_cast<float>(((block.qs[j / 4] >> (2 * (j % 4))) & 3) - 1);
  }
}

}  // namespace

const BlockFormat kQ2_0{"Q2_0", 42, 64, sizeof(BlockQ2_0), 0, decode};

}  // namespace quantfleet
