#include "backends/kernels/elementary.h"
#include "backends/kernels/kernels.h"

#include <cassert>

namespace quantfleet {

std::vector<double> rotary_frequencies(int dims, double base, double scale, std::span<const float> divisors) {
  assert(dims % 2 == 0 && (divisors.empty() || divisors.size() == static_cast<std::size_t>(dims / 2)));
  std::vector<double> frequencies;
  for (int i = 0; i < dims / 2; ++i) {
    const double divisor = divisors.empty() ? 1.0 : static_cast<double>(divisors[static_cast<std::size_t>(i)]);
    frequencies.push_back(elementary::pow(base, -2.0 * i / dims) / scale / divisor);
  }
  return frequencies;
}

RotaryTable::RotaryTable(std::span<const double> frequencies, std::int64_t positions, double magnitude)
    : pairs_(static_cast<int>(frequencies.size())) {
  cos_.reserve(frequencies.size() * static_cast<std::size_t>(positions));
  sin_.reserve(frequencies.size() * static_cast<std::size_t>(positions));
  for (std::int64_t position = 0; position < positions; ++position) {
    for (const double frequency : frequencies) {
      const auto [sin, cos] = elementary::sincos(static_cast<double>(position) * frequency);
      cos_.push_back(static_cast<float>(cos * magnitude));
      sin_.push_back(static_cast<float>(sin * magnitude));
    }
  }
}

}  // namespace quantfleet
