// IQ3_S: groups of 4 magnitudes are entries of a grid of 512 (ninth bit in qh), one sign a value; a 4-bit scale per 32.
//   value = d * (1 + 2 scale) * (+-grid)                          110 bytes per 256 values = 3.4375 bits/value
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/i_quant_grids.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_iq3_s(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ3_S block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d);
  for (int g = 0; g < 64; ++g) {
    const int entry = block.qs[g] | ((block.qh[g / 8] >> (g % 8)) & 1) << 8;
    put_group(kGridIq3S, entry, block.signs[g / 2] >> (4 * (g % 2)), out.codes + 4 * g);
  }
  for (int j = 0; j < 16; ++j) out.scales[j] = static_cast<std::int16_t>(2 * ((block.scales[j / 4] >> (4 * (j / 2 % 2))) & 15) + 1);
}

const BlockFormat kIQ3_S{"IQ3_S", 21, 256, sizeof(BlockIQ3_S), 256, decode_integer_blocks<unpack_iq3_s, sizeof(BlockIQ3_S)>};

}  // namespace quantfleet
