// IQ2_XXS: groups of 8 magnitudes are entries of a grid of 256; per 32 values one 4-bit scale and 4 x 7 signs.
//   value = d * (0.5 + scale) / 4 * (+-grid)                      66 bytes per 256 values = 2.0625 bits/value
// Sub-block ib has eight bytes of qs: four entry numbers, then a 32-bit word: signs of group l at bit 7 l, scale at bit 28.
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/i_quant_grids.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_iq2_xxs(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ2_XXS block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d) * 0.125f;
  for (int ib = 0; ib < 8; ++ib) {
    const std::uint8_t* entries = block.qs + 8 * ib;
    std::uint32_t word;
    std::memcpy(&word, entries + 4, sizeof word);
    out.scales[2 * ib] = out.scales[2 * ib + 1] = static_cast<std::int16_t>(2 * (word >> 28) + 1);
    for (int l = 0; l < 4; ++l)
      put_group(kGridIq2Xxs, entries[l], signs_of_seven(static_cast<int>(word >> (7 * l)) & 127), out.codes + 32 * ib + 8 * l);
  }
}

const BlockFormat kIQ2_XXS{"IQ2_XXS", 16, 256, sizeof(BlockIQ2_XXS), 256, decode_integer_blocks<unpack_iq2_xxs, sizeof(BlockIQ2_XXS)>};

}  // namespace quantfleet
