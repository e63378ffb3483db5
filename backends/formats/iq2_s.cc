// IQ2_S: groups of 8 magnitudes are entries of a grid of 1024 (two high bits in qh), 8 signs each; a 4-bit scale per 16.
//   value = d * (0.5 + scale) / 4 * (+-grid)                      82 bytes per 256 values = 2.5625 bits/value
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/i_quant_grids.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_iq2_s(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ2_S block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d) * 0.125f;
  for (int g = 0; g < 32; ++g) {
    const int entry = block.qs[g] | ((block.qh[g / 4] >> (2 * (g % 4))) & 3) << 8;
    put_group(kGridIq2S, entry, block.signs[g], out.codes + 8 * g);
  }
  for (int j = 0; j < 16; ++j) out.scales[j] = static_cast<std::int16_t>(2 * ((block.scales[j / 2] >> (4 * (j % 2))) & 15) + 1);
}

const BlockFormat kIQ2_S{"IQ2_S", 22, 256, sizeof(BlockIQ2_S), 256, decode_integer_blocks<unpack_iq2_s, sizeof(BlockIQ2_S)>};

}  // namespace quantfleet
