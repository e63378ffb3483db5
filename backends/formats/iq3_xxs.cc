// IQ3_XXS: groups of 4 magnitudes are entries of a grid of 256; per 32 values one 4-bit scale and 4 x 7 signs of 8 values.
//   value = d * (0.5 + scale) / 2 * (+-grid)                      98 bytes per 256 values = 3.0625 bits/value
// scales_signs: a 32-bit word per sub-block, signs of values 8 l .. 8 l + 7 at bit 7 l, scale at bit 28.
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/i_quant_grids.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_iq3_xxs(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ3_XXS block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d) * 0.25f;
  for (int ib = 0; ib < 8; ++ib) {
    std::uint32_t word;
    std::memcpy(&word, block.scales_signs + 4 * ib, sizeof word);
    out.scales[2 * ib] = out.scales[2 * ib + 1] = static_cast<std::int16_t>(2 * (word >> 28) + 1);
    for (int l = 0; l < 4; ++l) {
      const int signs = signs_of_seven(static_cast<int>(word >> (7 * l)) & 127);
      put_group(kGridIq3Xxs, block.qs[8 * ib + 2 * l], signs, out.codes + 32 * ib + 8 * l);
      put_group(kGridIq3Xxs, block.qs[8 * ib + 2 * l + 1], signs >> 4, out.codes + 32 * ib + 8 * l + 4);
    }
  }
}

const BlockFormat kIQ3_XXS{"IQ3_XXS", 18, 256, sizeof(BlockIQ3_XXS), 256, decode_integer_blocks<unpack_iq3_xxs, sizeof(BlockIQ3_XXS)>};

}  // namespace quantfleet
