// F32: IEEE binary32, little-endian. Decoding copies the bits, NaN payloads included.
// Spec: docs/formats/floats.md.  Tests: tests/backends/formats/formats_test.cc
#include "backends/formats/catalog.h"

#include <cstring>

namespace quantfleet {

namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  if (count_blocks > 0) std::memcpy(values, blocks, static_cast<std::size_t>(count_blocks) * sizeof(float));
}

}  // namespace

const BlockFormat kF32{"F32", 0, 1, 4, 0, decode};

}  // namespace quantfleet
