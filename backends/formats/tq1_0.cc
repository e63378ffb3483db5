// TQ1_0: ternary values, five to a byte as a number of base 3 (BitNet b1.58, Ma et al. 2024; TriLM).
//   value = d * (trit - 1)                                        54 bytes per 256 values = 1.6875 bits/value
// A byte B = ceil(v 256 / 243) of a number v below 243 gives its trits, most significant first, by multiplication with
// powers of 3: trit n = ((B 3^n mod 256) 3) >> 8.
// Spec: docs/formats/ternary.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/integer_block.h"

#include <cstring>

namespace quantfleet {

void unpack_tq1_0(const std::byte* bytes, IntegerBlock& out) {
  BlockTQ1_0 block;
  std::memcpy(&block, bytes, sizeof block);
  constexpr int kPowers[5] = {1, 3, 9, 27, 81};
  const auto trit = [&](std::uint8_t byte, int n) { return static_cast<std::int8_t>(((byte * kPowers[n] & 255) * 3 >> 8) - 1); };
  out.d = half_to_float(block.d);
  for (std::int16_t& scale : out.scales) scale = 1;
  for (int n = 0; n < 5; ++n) {
    for (int m = 0; m < 32; ++m) out.codes[32 * n + m] = trit(block.qs[m], n);
    for (int m = 0; m < 16; ++m) out.codes[160 + 16 * n + m] = trit(block.qs[32 + m], n);
  }
  for (int n = 0; n < 4; ++n)
    for (int j = 0; j < 4; ++j) out.codes[240 + 4 * n + j] = trit(block.qh[j], n);
}

const BlockFormat kTQ1_0{"TQ1_0", 34, 256, sizeof(BlockTQ1_0), 256, decode_integer_blocks<unpack_tq1_0, sizeof(BlockTQ1_0)>};

}  // namespace quantfleet
