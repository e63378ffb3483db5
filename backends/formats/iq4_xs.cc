// IQ4_XS: codes choose from the sixteen values of IQ4_NL; eight sub-blocks of 32 have signed 6-bit scales.
//   value = d * (scale - 32) * kIq4Values[code]                  136 bytes per 256 values = 4.25 bits/value
// Low nibbles of a sub-block hold its values 0..15, high nibbles 16..31; scales: four bits in scales_l, two in scales_h.
// Spec: docs/formats/i-quants.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/integer_block.h"
#include "backends/formats/iq4_values.h"

#include <cstring>

namespace quantfleet {

void unpack_iq4_xs(const std::byte* bytes, IntegerBlock& out) {
  BlockIQ4_XS block;
  std::memcpy(&block, bytes, sizeof block);
  out.d = half_to_float(block.d);
  for (int ib = 0; ib < 8; ++ib) {
    const int scale = ((block.scales_l[ib / 2] >> (4 * (ib % 2))) & 15) | ((block.scales_h >> (2 * ib)) & 3) << 4;
    out.scales[2 * ib] = out.scales[2 * ib + 1] = static_cast<std::int16_t>(scale - 32);
    for (int j = 0; j < 16; ++j) {
      out.codes[32 * ib + j] = kIq4Values[block.qs[16 * ib + j] & 15];
      out.codes[32 * ib + 16 + j] = kIq4Values[block.qs[16 * ib + j] >> 4];
    }
  }
}

const BlockFormat kIQ4_XS{"IQ4_XS", 23, 256, sizeof(BlockIQ4_XS), 256, decode_integer_blocks<unpack_iq4_xs, sizeof(BlockIQ4_XS)>};

}  // namespace quantfleet
