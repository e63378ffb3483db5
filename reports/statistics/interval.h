// An estimate with its interval, and the two simplest ways to get one for a proportion or a mean.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet::statistics {

struct Interval {
  double low = 0, high = 0;

  bool contains(double value) const { return low <= value && value <= high; }
  bool operator==(const Interval&) const = default;
};

struct Estimate {
  double value = 0;
  double standard_error = 0;
  std::int64_t count = 0;
};

// Mean and its standard error s/sqrt(n), s with n-1. count 0: value and error are 0.
Estimate mean(std::span<const double> values);

// Wilson score interval of a proportion (Wilson 1927, eq. for p from n trials). coverage two-sided, e.g. 0.95.
Interval wilson(double proportion, std::int64_t count, double coverage);

// Quantile by linear interpolation at p (n-1), as llama-perplexity and NumPy do. `values` need not be sorted; empty: NaN.
double quantile(std::vector<double> values, double p);

}  // namespace quantfleet::statistics
