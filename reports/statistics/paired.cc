#include "reports/statistics/paired.h"

#include "reports/statistics/random.h"

#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/chi_squared.hpp>

#include <algorithm>
#include <cmath>

namespace quantfleet::statistics {
namespace {

constexpr double kCoverage = 0.95;

bool measurable(const AreaRetention& area) { return area.retention.has_value(); }

AreaRetention describe(const PairedArea& area) {
  AreaRetention r;
  r.area = area.area;
  r.items = static_cast<std::int64_t>(area.baseline.size());
  r.chance = area.chance;
  r.baseline = mean(area.baseline);
  r.candidate = mean(area.candidate);
  r.difference = r.candidate.value - r.baseline.value;
  r.raw_ratio = r.baseline.value > 0 ? r.candidate.value / r.baseline.value : 0;
  for (std::size_t i = 0; i < area.baseline.size(); ++i) {
    r.lost += area.candidate[i] < area.baseline[i];
    r.gained += area.candidate[i] > area.baseline[i];
  }
  if (r.items > 0 && wilson(r.baseline.value, r.items, kCoverage).low > area.chance)
    r.retention = (r.candidate.value - area.chance) / (r.baseline.value - area.chance);
  return r;
}

// Sums of flipped mass on one side (lost or gained) with the variance and largest weight that the gamma interval needs.
struct Flipped {
  double sum = 0, variance = 0, weight_max = 0;

  void add(double weight, double mass) {
    sum += weight * mass;
    variance += weight * weight * mass * mass;
  }
};

// Bounds for gained - lost, each side of each sum with probability `tail` of being wrong in all.
Interval exact_difference(const Flipped& lost, const Flipped& gained, double tail) {
  const double coverage = 1 - tail;  // two sums share the two-sided error; each bound uses one tail of each
  const Interval l = weighted_poisson_interval(lost.sum, lost.variance, lost.weight_max, coverage);
  const Interval g = weighted_poisson_interval(gained.sum, gained.variance, gained.weight_max, coverage);
  return {g.low - l.high, g.high - l.low};
}

void count_flips(const PairedArea& area, double weight, Flipped& lost, Flipped& gained) {
  for (std::size_t i = 0; i < area.baseline.size(); ++i) {
    const double change = area.candidate[i] - area.baseline[i];
    if (change < 0) lost.add(weight, -change);
    if (change > 0) gained.add(weight, change);
  }
  lost.weight_max = std::max(lost.weight_max, weight);
  gained.weight_max = std::max(gained.weight_max, weight);
}

Interval percentiles(std::vector<double>& resampled, double tail) {
  std::sort(resampled.begin(), resampled.end());
  const auto pick = [&](double p) {
    const double position = p * static_cast<double>(resampled.size() - 1);
    const std::size_t below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, resampled.size() - 1);
    return resampled[below] + (position - static_cast<double>(below)) * (resampled[above] - resampled[below]);
  };
  return {pick(tail), pick(1 - tail)};
}

struct Resampled {
  std::vector<double> differences, retentions;
};

}  // namespace

Interval weighted_poisson_interval(double sum, double variance, double weight_max, double coverage) {
  const double tail = (1 - coverage) / 2;
  Interval interval;
  if (sum > 0 && variance > 0) {
    const boost::math::chi_squared low(2 * sum * sum / variance);
    interval.low = variance / (2 * sum) * boost::math::quantile(low, tail);
  }
  const double s = sum + weight_max, v = variance + weight_max * weight_max;
  if (s > 0 && v > 0) {
    const boost::math::chi_squared high(2 * s * s / v);
    interval.high = v / (2 * s) * boost::math::quantile(high, 1 - tail);
  }
  return interval;
}

double mcnemar_p_worse(int lost, int gained) {
  const int flips = lost + gained;
  if (flips == 0 || lost == 0) return 1;
  const boost::math::binomial coin(flips, 0.5);
  return boost::math::cdf(boost::math::complement(coin, lost - 1));
}

Verdict verdict_of(Interval bounds, double margin) {
  if (bounds.low > 0) return Verdict::kBetter;
  if (bounds.low > -margin) return Verdict::kSame;
  if (bounds.high < 0) return Verdict::kWorse;
  return Verdict::kUnknown;
}

PooledRetention compare(std::span<const PairedArea> areas, std::uint64_t seed) {
  PooledRetention pooled;
  for (const PairedArea& area : areas)
    if (!area.baseline.empty()) pooled.areas.push_back(describe(area));
  if (pooled.areas.empty()) return pooled;

  const double area_weight = 1.0 / static_cast<double>(pooled.areas.size());
  int count_measurable = 0;
  double retention_sum = 0;
  for (const AreaRetention& area : pooled.areas) {
    pooled.baseline += area_weight * area.baseline.value;
    pooled.candidate += area_weight * area.candidate.value;
    pooled.lost += area.lost;
    pooled.gained += area.gained;
    if (!measurable(area)) continue;
    ++count_measurable;
    retention_sum += *area.retention;
  }
  pooled.difference = pooled.candidate - pooled.baseline;
  pooled.raw_ratio = pooled.baseline > 0 ? pooled.candidate / pooled.baseline : 0;
  if (count_measurable > 0) pooled.retention = retention_sum / count_measurable;
  pooled.p_worse = mcnemar_p_worse(pooled.lost, pooled.gained);
  pooled.exact = pooled.lost + pooled.gained < kExactBelowFlips;

  // Bootstrap: every resample draws items with replacement within each area; area and pooled statistics share the draws.
  Random random(seed);
  std::vector<Resampled> by_area(pooled.areas.size());
  Resampled all{std::vector<double>(kResamples), std::vector<double>(kResamples)};
  std::size_t index = 0;
  for (const PairedArea& area : areas) {
    if (area.baseline.empty()) continue;
    AreaRetention& described = pooled.areas[index];
    Resampled& resampled = by_area[index++];
    resampled.differences.resize(kResamples);
    resampled.retentions.resize(measurable(described) ? kResamples : 0);
    const std::size_t n = area.baseline.size();
    for (int b = 0; b < kResamples; ++b) {
      double base = 0, candidate = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t drawn = random.below(n);
        base += area.baseline[drawn];
        candidate += area.candidate[drawn];
      }
      base /= static_cast<double>(n);
      candidate /= static_cast<double>(n);
      resampled.differences[b] = candidate - base;
      all.differences[b] += area_weight * (candidate - base);
      if (!measurable(described)) continue;
      // A resampled baseline at chance has no retention; measurable areas are far from it, so this is a guard, not a rule.
      const double room = std::max(base - area.chance, 1e-9);
      resampled.retentions[b] = (candidate - area.chance) / room;
      all.retentions[b] += resampled.retentions[b] / count_measurable;
    }

    if (described.lost + described.gained < kExactBelowFlips) {
      Flipped lost, gained;
      count_flips(area, 1.0 / static_cast<double>(n), lost, gained);
      described.difference_interval = exact_difference(lost, gained, (1 - kCoverage) / 2);
      if (measurable(described)) {
        const double room = described.baseline.value - area.chance;
        described.retention_interval = {1 + described.difference_interval.low / room,
                                        1 + described.difference_interval.high / room};
      }
    } else {
      described.difference_interval = percentiles(resampled.differences, (1 - kCoverage) / 2);
      if (measurable(described)) described.retention_interval = percentiles(resampled.retentions, (1 - kCoverage) / 2);
    }
  }

  if (pooled.exact) {
    Flipped lost, gained, lost_retention, gained_retention;
    index = 0;
    for (const PairedArea& area : areas) {
      if (area.baseline.empty()) continue;
      const AreaRetention& described = pooled.areas[index++];
      const double n = static_cast<double>(area.baseline.size());
      count_flips(area, area_weight / n, lost, gained);
      if (!measurable(described)) continue;
      count_flips(area, 1.0 / (n * count_measurable * (described.baseline.value - area.chance)), lost_retention,
                  gained_retention);
    }
    pooled.difference_interval = exact_difference(lost, gained, (1 - kCoverage) / 2);
    pooled.one_sided = exact_difference(lost, gained, kOneSidedLevel);
    if (count_measurable > 0) {
      const Interval change = exact_difference(lost_retention, gained_retention, (1 - kCoverage) / 2);
      pooled.retention_interval = {1 + change.low, 1 + change.high};
    }
  } else {
    pooled.one_sided = percentiles(all.differences, kOneSidedLevel);
    pooled.difference_interval = percentiles(all.differences, (1 - kCoverage) / 2);
    if (count_measurable > 0) pooled.retention_interval = percentiles(all.retentions, (1 - kCoverage) / 2);
  }
  pooled.verdict = verdict_of(pooled.one_sided);
  return pooled;
}

}  // namespace quantfleet::statistics
