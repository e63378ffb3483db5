// IQ2_XS: groups of 8 magnitudes are entries of a grid of 512, with 7 signs each in the same 16 bits; a 4-bit scale per 16.
//   value = d * (0.5 + scale) / 4 * (+-grid)                      74 bytes per 256 values = 2.3125 bits/value
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/i_quant_grids.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_iq2_xs(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ2_XS block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d) * 0.125f;
  for (int g = 0; g < 32; ++g) put_group(kGridIq2Xs, block.qs[g] & 511, signs_of_seven(block.qs[g] >> 9), out.codes + 8 * g);
  for (int j = 0; j < 16; ++j) out.scales[j] = static_cast<std::int16_t>(2 * ((block.scales[j / 2] >> (4 * (j % 2))) & 15) + 1);
}

const BlockFormat kIQ2_XS{"IQ2_XS", 17, 256, sizeof(BlockIQ2_XS), 256, decode_integer_blocks<unpack_iq2_xs, sizeof(BlockIQ2_XS)>};

}  // namespace quantfleet
