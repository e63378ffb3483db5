#include "reports/statistics/informative.h"

#include "reports/statistics/random.h"

#include <boost/math/distributions/students_t.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace quantfleet::statistics {

std::vector<double> flip_rates(std::span<const FlipHistory> history) {
  double flips = 0, comparisons = 0;
  for (const FlipHistory& item : history) flips += item.flips, comparisons += item.comparisons;
  const double mean = comparisons > 0 ? flips / comparisons : 0;
  std::vector<double> rates;
  for (const FlipHistory& item : history) rates.push_back((item.flips + 2 * mean) / (item.comparisons + 2));
  return rates;
}

std::vector<double> inclusion_probabilities(std::span<const double> rates, int count) {
  const std::size_t n = rates.size();
  if (static_cast<std::size_t>(count) >= n) return std::vector<double>(n, 1.0);
  const double floor = std::max(0.01, std::accumulate(rates.begin(), rates.end(), 0.0) / static_cast<double>(n));
  std::vector<double> probabilities(n, 0.0);
  // Items whose share would exceed 1 are certain; the rest share what is left, until none exceeds it.
  for (bool changed = true; changed;) {
    changed = false;
    double left = count, size = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (probabilities[i] == 1) left -= 1;
      else size += floor + rates[i];
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (probabilities[i] == 1) continue;
      probabilities[i] = left * (floor + rates[i]) / size;
      if (probabilities[i] >= 1) probabilities[i] = 1, changed = true;
    }
  }
  return probabilities;
}

std::vector<int> draw_items(std::span<const double> probabilities, std::uint64_t seed) {
  Random random(seed);
  std::vector<int> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  const double start = static_cast<double>(random.next() >> 11) * 0x1p-53;
  const double sum = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
  const auto count = static_cast<std::size_t>(std::llround(sum));
  std::vector<int> chosen;
  double reached = 0;
  for (const int i : order) {
    reached += probabilities[static_cast<std::size_t>(i)];
    if (chosen.size() < count && reached > start + static_cast<double>(chosen.size())) chosen.push_back(i);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Estimate weighted_mean(std::span<const double> values, std::span<const double> probabilities) {
  Estimate estimate;
  estimate.count = static_cast<std::int64_t>(values.size());
  if (values.empty()) return estimate;
  double sum = 0, size = 0;
  for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] / probabilities[i], size += 1 / probabilities[i];
  estimate.value = sum / size;
  if (values.size() < 2) return estimate;
  double variance = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double residual = (values[i] - estimate.value) / probabilities[i];
    variance += (1 - probabilities[i]) * residual * residual;
  }
  const double n = static_cast<double>(values.size());
  estimate.standard_error = std::sqrt(variance * n / (n - 1)) / size;
  return estimate;
}

Interval weighted_interval(std::span<const double> values, std::span<const double> probabilities, int items, double low, double high) {
  if (values.size() < 2) return {low, high};
  const Estimate mean = weighted_mean(values, probabilities);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double residual = (values[i] - mean.value) / probabilities[i], term = (1 - probabilities[i]) * residual * residual;
    sum += term, squares += term * term;
  }
  double half = 0;
  if (squares > 0) {
    const boost::math::students_t t(std::max(1.0, 2 * sum * sum / squares));
    half = boost::math::quantile(t, 0.975) * mean.standard_error;
  } else if (static_cast<int>(values.size()) < items) {
    const double least = 0.5 * static_cast<double>(values.size()) / items;
    half = std::log(0.025) / std::log1p(-least) / items * std::max(mean.value - low, high - mean.value);
  }
  return {std::max(low, mean.value - half), std::min(high, mean.value + half)};
}

}  // namespace quantfleet::statistics
