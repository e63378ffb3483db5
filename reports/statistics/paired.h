// A candidate against its baseline on the same items: retention, difference, flips, verdict. Items are paired, areas are
// strata. Scores lie in 0..1 (0 or 1 for most suites).
//
//   retention of an area = (accuracy - chance) / (baseline accuracy - chance)
//   pooled               = mean over areas, each with the same weight
//
// Intervals: percentile bootstrap over items within each area (Efron & Tibshirani 1993, ch. 13; stratified ch. 8), 95 %.
// Where fewer than kExactBelowFlips items flipped the bootstrap is too coarse; then an interval that counts exactly: lost and
// gained items are two weighted sums of rare events, each with the gamma interval of Fay & Feuer (1997, Stat. Med. 16:791),
// which is the exact Poisson interval where all weights are equal; the two are joined by Bonferroni.
#pragma once

#include "contract/verdict.h"
#include "reports/statistics/interval.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace quantfleet::statistics {

inline constexpr double kMargin = 0.02;          // of accuracy: what a user would still call the same
inline constexpr double kOneSidedLevel = 0.05;
inline constexpr int kExactBelowFlips = 10;
inline constexpr int kResamples = 10'000;

// The items of one area that both sides answered, in the same order.
struct PairedArea {
  std::string area;
  double chance = 0;
  std::vector<double> baseline, candidate;       // equally long
};

struct AreaRetention {
  std::string area;
  std::int64_t items = 0;
  double chance = 0;
  Estimate baseline, candidate;                  // accuracies
  double difference = 0;                         // candidate - baseline
  Interval difference_interval;
  std::optional<double> retention;               // absent: not measurable, the baseline's own interval touches chance
  Interval retention_interval;
  double raw_ratio = 0;                          // candidate / baseline, 0 where the baseline is 0
  int lost = 0, gained = 0;                      // flips: baseline right and candidate wrong, and the other way
};

struct PooledRetention {
  std::vector<AreaRetention> areas;
  double baseline = 0, candidate = 0;            // means over areas
  double difference = 0;
  Interval difference_interval;
  std::optional<double> retention;               // mean over the measurable areas
  Interval retention_interval;
  double raw_ratio = 0;
  int lost = 0, gained = 0;
  bool exact = false;                            // fewer than kExactBelowFlips flips
  Interval one_sided;                            // lower and upper 95 % bound, each one-sided, of the difference
  Verdict verdict = Verdict::kUnknown;
  double p_worse = 1;                            // one-sided exact McNemar: P(so many lost or more | as many lost as gained)
};

// Empty input: UNKNOWN. `seed` makes the bootstrap repeatable.
PooledRetention compare(std::span<const PairedArea> areas, std::uint64_t seed);

// Non-inferiority with margin kMargin: low > 0 BETTER; low > -margin SAME; high < 0 WORSE; else UNKNOWN.
Verdict verdict_of(Interval one_sided_bounds, double margin = kMargin);

// One-sided exact McNemar test (binomial with p = 1/2 over the flips).
double mcnemar_p_worse(int lost, int gained);

// Interval for sum_i w_i x_i of Poisson counts x_i, coverage two-sided (Fay & Feuer 1997). weight_max: the largest weight.
Interval weighted_poisson_interval(double sum, double variance, double weight_max, double coverage);

}  // namespace quantfleet::statistics
