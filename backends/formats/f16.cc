// F16: IEEE binary16, little-endian; widened exactly.
// Spec: docs/formats/floats.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, blocks + 2 * i, sizeof bits);
    values[i] = half_to_float(bits);
  }
}

}  // namespace

const BlockFormat kF16{"F16", 1, 1, 2, 0, decode};

}  // namespace quantfleet
