#include "reports/statistics/interval.h"

#include <boost/math/distributions/normal.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantfleet::statistics {

Estimate mean(std::span<const double> values) {
  Estimate estimate;
  estimate.count = static_cast<std::int64_t>(values.size());
  if (values.empty()) return estimate;
  double sum = 0;
  for (double v : values) sum += v;
  estimate.value = sum / static_cast<double>(values.size());
  if (values.size() < 2) return estimate;
  double squares = 0;
  for (double v : values) squares += (v - estimate.value) * (v - estimate.value);
  const double n = static_cast<double>(values.size());
  estimate.standard_error = std::sqrt(squares / (n - 1) / n);
  return estimate;
}

Interval wilson(double proportion, std::int64_t count, double coverage) {
  if (count <= 0) return {0, 1};
  const double z = boost::math::quantile(boost::math::normal(), 0.5 + coverage / 2);
  const double n = static_cast<double>(count);
  const double centre = (proportion + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

double quantile(std::vector<double> values, double p) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const double position = p * static_cast<double>(values.size() - 1);
  const std::size_t below = static_cast<std::size_t>(position);
  if (below + 1 >= values.size()) return values.back();
  const double fraction = position - static_cast<double>(below);
  return values[below] + fraction * (values[below + 1] - values[below]);
}

}  // namespace quantfleet::statistics
