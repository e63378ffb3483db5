// TQ2_0: ternary values, two bits each (BitNet b1.58, Ma et al. 2024; TriLM).
//   value = d * (code - 1)                                        66 bytes per 256 values = 2.0625 bits/value
// Value e = 128 h + 32 k + l has its bits in qs[32 h + l] at bit 2 k. The code 3 is possible in a file and means 2 d.
// Spec: docs/formats/ternary.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_tq2_0(const std::byte* bytes, IntegerBlock& out) {
  BlockTQ2_0 block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d);
  for (std::int16_t& scale : out.scales) scale = 1;
  for (int e = 0; e < 256; ++e)
    out.codes[e] = static_cast<std::int8_t>(((block.qs[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3) - 1);
}

const BlockFormat kTQ2_0{"TQ2_0", 35, 256, sizeof(BlockTQ2_0), 256, decode_integer_blocks<unpack_tq2_0, sizeof(BlockTQ2_0)>};

}  // namespace quantfleet
