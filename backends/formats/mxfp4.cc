// MXFP4: 32 four-bit floats (E2M1) share a power of two (OCP Microscaling Formats 1.0).
//   value = kFp4Values[code] * 2^(e - 128)                        17 bytes per 32 values = 4.25 bits/value
// kFp4Values are twice the floats, so the power is half of the standard's 2^(e - 127); e = 255, the standard's NaN, is a power
// like the others, as in ggml. Low nibbles hold values 0..15, high nibbles 16..31.
// Spec: docs/formats/fp4.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/fp4_values.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 32) {
    BlockMXFP4 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    const float scale = half_of_e8m0(block.e);
    for (int j = 0; j < 16; ++j) {
      values[j] = static_cast<float>(kFp4Values[block.qs[j] & 15]) * scale;
      values[j + 16] = static_cast<float>(kFp4Values[block.qs[j] >> 4]) * scale;
    }
  }
}

}  // namespace

const BlockFormat kMXFP4{"MXFP4", 39, 32, sizeof(BlockMXFP4), 32, decode};

}  // namespace quantfleet
