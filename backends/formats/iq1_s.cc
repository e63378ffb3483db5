// IQ1_S: groups of 8 ternary values are entries of a grid of 2048 (three high bits in qh), shifted together by +-1/8 per 32
// values, which also share a 3-bit scale.
//   value = d * (2 scale + 1) * (grid +- 1/8)                     50 bytes per 256 values = 1.5625 bits/value
// qh of a sub-block: high bits of group l at bit 3 l, scale at bit 12, bit 15 set: minus 1/8. Codes here are 8 grid +- 1.
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/i_quant_grids.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_iq1_s(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ1_S block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d) * 0.125f;
  for (int ib = 0; ib < 8; ++ib) {
    const int h = block.qh[ib];
    out.scales[2 * ib] = out.scales[2 * ib + 1] = static_cast<std::int16_t>(2 * ((h >> 12) & 7) + 1);
    for (int l = 0; l < 4; ++l)
      put_shifted_group(block.qs[4 * ib + l] | ((h >> (3 * l)) & 7) << 8, h & 0x8000, out.codes + 32 * ib + 8 * l);
  }
}

const BlockFormat kIQ1_S{"IQ1_S", 19, 256, sizeof(BlockIQ1_S), 256, decode_integer_blocks<unpack_iq1_s, sizeof(BlockIQ1_S)>};

}  // namespace quantfleet
