// Q1_0: 128 signs share one binary16 magnitude.
//   value = bit ? d : -d                                          18 bytes per 128 values = 1.125 bits/value
// Spec: docs/formats/ternary.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 128) {
    BlockQ1_0 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    for (int j = 0; j < 128; ++j) values[j] = (block.qs[j / 8] >> (j % 8)) & 1 ? d : -d;
  }
}

}  // namespace

const BlockFormat kQ1_0{"Q1_0", 41, 128, sizeof(BlockQ1_0), 0, decode};

}  // namespace quantfleet
