// Any bytes: an importance matrix in either layout, or one sentence.
#include "backends/quantizers/imatrix_file.h"

#include <cmath>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  const auto matrix = parse_importance_matrix({reinterpret_cast<const std::byte*>(data), size}, "fuzz.dat");
  if (!matrix) {
    if (matrix.error().detail.empty()) __builtin_trap();
    return 0;
  }
  for (const auto& [name, entry] : matrix->entries)
    for (const float value : entry.mean_square)
      if (!std::isfinite(value) || value < 0) __builtin_trap();
  return 0;
}
