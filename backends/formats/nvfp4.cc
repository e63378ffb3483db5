// NVFP4: 16 four-bit floats (E2M1) share an 8-bit float without sign (UE4M3); four such groups are a block.
//   value = kFp4Values[code] * scale / 2                          36 bytes per 64 values = 4.5 bits/value
// Group s: low nibbles of qs[8 s ..] hold its values 0..7, high nibbles 8..15. A scale of the whole tensor is a tensor of its
// own in GGUF ("<name>.scale"), which this file does not know.
// Spec: docs/formats/fp4.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/fp4_values.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i, values += 64) {
    BlockNVFP4 block;
    std::memcpy(&block, blocks + i * std::int64_t(sizeof block), sizeof block);
    for (int s = 0; s < 4; ++s) {
      const float scale = 0.5f * ue4m3_to_float(block.d[s]);
      for (int j = 0; j < 8; ++j) {
        values[16 * s + j] = static_cast<float>(kFp4Values[block.qs[8 * s + j] & 15]) * scale;
        values[16 * s + 8 + j] = static_cast<float>(kFp4Values[block.qs[8 * s + j] >> 4]) * scale;
      }
    }
  }
}

}  // namespace

const BlockFormat kNVFP4{"NVFP4", 40, 64, sizeof(BlockNVFP4), 0, decode};

}  // namespace quantfleet
