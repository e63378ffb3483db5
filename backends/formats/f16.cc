// F16: IEEE binary16, little-endian; widened exactly.
// Spec: docs/formats/floats.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/catalog.h"

#include <bit>
#include <cstring>

namespace quantfleet {

namespace {

// half_to_float without branches, so that the loop becomes vectors: a product with 2^112 moves the exponent of numbers and
// denormals alike, exactly.
void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t i = 0; i < count_blocks; ++i) {
    std::uint16_t half;
    std::memcpy(&half, blocks + 2 * i, sizeof half);
    const std::uint32_t sign = (half & 0x8000u) << 16, magnitude = (half & 0x7fffu) << 13;
    const std::uint32_t number = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
    const std::uint32_t infinite = magnitude >= 0x7c00u << 13 ? 0x7f800000u : 0u;  // infinities and NaN
    const std::uint32_t bits = sign | number | infinite;
    std::memcpy(values + i, &bits, sizeof bits);
  }
}

}  // namespace

const BlockFormat kF16{"F16", 1, 1, 2, 0, decode};

}  // namespace quantfleet
