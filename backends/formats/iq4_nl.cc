// IQ4_NL: 32 values share one binary16 scale; a 4-bit code chooses one of sixteen unevenly spaced values.
//   value = d * kIq4Values[code]                                  18 bytes per 32 values = 4.5 bits/value
// Low nibbles hold values 0..15, high nibbles values 16..31.
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/iq4_values.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 32) {
    BlockIQ4_NL block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float d = half_to_float(block.d);
    for (int j = 0; j < 16; ++j) {
      values[j] = d * static_cast<float>(kIq4Values[block.qs[j] & 15]);
      values[j + 16] = d * static_cast<float>(kIq4Values[block.qs[j] >> 4]);
    }
  }
}

}  // namespace

const BlockFormat kIQ4_NL{"IQ4_NL", 20, 32, sizeof(BlockIQ4_NL), 32, decode};

}  // namespace quantfleet
