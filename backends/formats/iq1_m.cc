// IQ1_M: as IQ1_S, but the shift of +-1/8 is per group of 8 and the 3-bit scale per 16 values.
//   value = d * (2 scale + 1) * (grid +- 1/8)                     56 bytes per 256 values = 1.75 bits/value
// d has no field: its four nibbles are the top nibbles of the four words of scales, lowest first. qh has a nibble per group:
// three high bits of the entry, and 8: minus 1/8.
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/i_quant_grids.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_iq1_m(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ1_M block;
  std::memcpy(&block, bytes, sizeof block);
  const std::uint16_t* s = block.scales;
  out.d = half_to_float(static_cast<std::uint16_t>(s[0] >> 12 | (s[1] >> 8 & 0x00f0) | (s[2] >> 4 & 0x0f00) | (s[3] & 0xf000))) * 0.125f;
  for (int j = 0; j < 16; ++j) out.scales[j] = static_cast<std::int16_t>(2 * ((s[j / 4] >> (3 * (j % 4))) & 7) + 1);
  for (int g = 0; g < 32; ++g) {
    const int nibble = (block.qh[g / 2] >> (4 * (g % 2))) & 15;
    put_shifted_group(block.qs[g] | (nibble & 7) << 8, nibble & 8, out.codes + 8 * g);
  }
}

const BlockFormat kIQ1_M{"IQ1_M", 29, 256, sizeof(BlockIQ1_M), 256, decode_integer_blocks<unpack_iq1_m, sizeof(BlockIQ1_M)>};

}  // namespace quantfleet
