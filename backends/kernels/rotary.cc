#include "backends/kernels/elementary.h"
#include "backends/kernels/kernels.h"

#include <algorithm>
#include <cassert>
#include <cmath>

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

std::vector<double> yarn_frequencies(int dims, double base, double factor, int original_context) {
  constexpr double kPi = 3.14159265358979323846;
  // The pair that turns `beta` times within the original context.
  const auto pair_of = [&](double beta) {
    return dims * elementary::log(original_context / (2 * kPi * beta)) / (2 * elementary::log(base));
  };
  const double low = std::max(0.0, std::floor(pair_of(32))), high = std::min(dims - 1.0, std::ceil(pair_of(1)));
  std::vector<double> frequencies = rotary_frequencies(dims, base, 1, {});
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = 1 - std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / factor * (1 - ramp) + frequencies[i] * ramp;
  }
  return frequencies;
}

double yarn_magnitude(double factor) { return 1 + 0.1 * elementary::log(factor); }

std::vector<float> alibi_slopes(int heads, double largest) {
  int power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<float> slopes;
  for (int h = 0; h < heads; ++h) {
    const double exponent = h < power ? (h + 1.0) / power : (2.0 * (h - power) + 1) / (2.0 * power);
    slopes.push_back(static_cast<float>(elementary::pow(2.0, -largest * exponent)));
  }
  return slopes;
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
