// The items that tell most: a simulated history decides what is drawn, and estimates from the draw are right for the whole suite.
#include "reports/statistics/informative.h"
#include "reports/statistics/random.h"
#include "reports/tables/summary.h"
#include "reports/tables/terminal.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace quantfleet;
using namespace quantfleet::statistics;

namespace {

constexpr int kItems = 900, kSample = 200;

// A suite in which one item in ten is fragile. `history` is what six other models showed; `difference` is what the judged one does.
struct Simulated {
  std::vector<FlipHistory> history;
  std::vector<double> difference;
  double mean = 0;
};

Simulated simulated_suite(std::uint64_t seed) {
  Random random(seed);
  const auto uniform = [&] { return static_cast<double>(random.next() >> 11) * 0x1p-53; };
  Simulated suite;
  for (int i = 0; i < kItems; ++i) {
    const double fragile = i % 10 == 0 ? 0.5 : 0.02;
    FlipHistory item{6, 0};
    for (int model = 0; model < 6; ++model) item.flips += uniform() < fragile;
    suite.history.push_back(item);
    const double u = uniform();
    suite.difference.push_back(u < 0.7 * fragile ? -1 : u < fragile ? 1 : 0);
    suite.mean += suite.difference.back() / kItems;
  }
  return suite;
}

struct Answer {
  Estimate estimate;
  Interval interval;
};

Answer answer(const Simulated& suite, std::span<const double> probabilities, std::uint64_t seed) {
  std::vector<double> values, weights;
  for (const int i : draw_items(probabilities, seed)) {
    values.push_back(suite.difference[static_cast<std::size_t>(i)]);
    weights.push_back(probabilities[static_cast<std::size_t>(i)]);
  }
  return {weighted_mean(values, weights), weighted_interval(values, weights, kItems, -1, 1)};
}

struct Spread { double mean = 0, variance = 0, stated = 0, covered = 0, width = 0; };

Spread spread_of(const Simulated& suite, std::span<const double> probabilities) {
  Spread s;
  const int n = 3000;
  for (std::uint64_t seed = 0; seed < n; ++seed) {
    const auto [e, interval] = answer(suite, probabilities, seed * 7919 + 1);
    s.mean += e.value / n, s.variance += (e.value - suite.mean) * (e.value - suite.mean) / n;
    s.stated += e.standard_error * e.standard_error / n;
    s.covered += interval.contains(suite.mean) / static_cast<double>(n);
    s.width += (interval.high - interval.low) / n;
  }
  return s;
}

}  // namespace

TEST_CASE("probabilities follow flip rates above a floor, are at most one and sum to the sample", "[statistics][informative]") {
  const auto rates = flip_rates(simulated_suite(1).history);
  for (const int count : {1, 50, kSample, 880}) {
    CAPTURE(count);
    const auto p = inclusion_probabilities(rates, count);
    CHECK(std::accumulate(p.begin(), p.end(), 0.0) == Approx(count));
    CHECK(*std::max_element(p.begin(), p.end()) <= 1);
    CHECK(*std::min_element(p.begin(), p.end()) >= std::min(1.0, 0.5 * count / kItems));
    if (count < 300) CHECK(p[0] > p[1]);
  }
  CHECK(inclusion_probabilities(rates, kItems) == std::vector<double>(kItems, 1.0));
  CHECK(inclusion_probabilities(rates, 5 * kItems) == std::vector<double>(kItems, 1.0));
  const std::vector<FlipHistory> nothing(10);
  for (const double p : inclusion_probabilities(flip_rates(nothing), 4)) CHECK(p == Approx(0.4));
  CHECK(flip_rates(std::vector<FlipHistory>{{0, 0}, {8, 8}, {8, 0}})[0] == Approx(0.5));
}

TEST_CASE("every item is drawn as often as its probability says, and the sample has its size", "[statistics][informative]") {
  const auto p = inclusion_probabilities(flip_rates(simulated_suite(2).history), kSample);
  std::vector<int> drawn(kItems);
  const int n = 4000;
  for (std::uint64_t seed = 0; seed < n; ++seed) {
    const auto items = draw_items(p, seed);
    REQUIRE(items.size() == kSample);
    REQUIRE(std::adjacent_find(items.begin(), items.end(), std::greater_equal<>()) == items.end());
    for (const int i : items) ++drawn[static_cast<std::size_t>(i)];
  }
  for (std::size_t i = 0; i < kItems; ++i) {
    CAPTURE(i);
    CHECK(std::abs(drawn[i] - n * p[i]) < 5 * std::sqrt(n * p[i] * (1 - p[i])) + 1);
  }
  CHECK(draw_items(p, 7) == draw_items(p, 7));
}

TEST_CASE("estimates from the chosen items are unbiased for the suite, state their error, and scatter less than equal chances", "[statistics][informative]") {
  for (const std::uint64_t world : {3u, 4u, 5u}) {
    CAPTURE(world);
    const Simulated suite = simulated_suite(world);
    const Spread chosen = spread_of(suite, inclusion_probabilities(flip_rates(suite.history), kSample));
    const Spread equal = spread_of(suite, std::vector<double>(kItems, static_cast<double>(kSample) / kItems));
    CHECK(std::abs(chosen.mean - suite.mean) < 4 * std::sqrt(chosen.variance / 3000) + 0.0005);  // Hajek's ratio: a bias of order 1/n
    CHECK(chosen.stated == Approx(chosen.variance).epsilon(0.15));
    CHECK(chosen.covered > 0.938);  // 95 % but for three standard errors of 3,000 draws
    CHECK(chosen.width < 2 * 2.8 * std::sqrt(chosen.variance));  // no more than 1.4 times the normal one
    CHECK(chosen.variance < 0.75 * equal.variance);
  }
}

TEST_CASE("where nothing flipped, the interval says what could have flipped unseen", "[statistics][informative]") {
  const std::vector<double> nothing(kSample, 0.0), certain(kItems, 0.0), equal(kSample, static_cast<double>(kSample) / kItems), all(kItems, 1.0);
  const Interval unseen = weighted_interval(nothing, equal, kItems, -1, 1);
  CHECK(unseen.low == Approx(-unseen.high));
  CHECK(unseen.high == Approx(31.3 / kItems).epsilon(0.01));  // 31 items of probability 1/9 are all missed with 2.5 %
  const Interval none = weighted_interval(certain, all, kItems, -1, 1);
  CHECK((none.low == 0 && none.high == 0));
  CHECK(weighted_interval({}, {}, kItems, -1, 1) == Interval{-1, 1});
}

TEST_CASE("the unweighted mean of chosen items would be far off", "[statistics][informative]") {
  const Simulated suite = simulated_suite(6);
  const auto p = inclusion_probabilities(flip_rates(suite.history), kSample);
  double plain = 0;
  for (const int i : draw_items(p, 1)) plain += suite.difference[static_cast<std::size_t>(i)] / kSample;
  CHECK(std::abs(plain - suite.mean) > 3 * answer(suite, p, 1).estimate.standard_error);
}

TEST_CASE("a report weights chosen items and keeps them out of the pooled verdict", "[reports][informative]") {
  reports::RunResults results;
  results.baseline = "F16";
  results.formats = {"F16", "Q4_0"};
  results.suites = {{"math", "1", "sha", "math", "generate", 100, 0, ""}};
  results.items_of = {100};
  // Five certain items that flip, five of probability 1/19 that do not: 5 of 5 + 95.
  for (int i = 0; i < 10; ++i) {
    results.chosen["math"][i] = i < 5 ? 1.0 : 1.0 / 19;
    for (const char* format : {"F16", "Q4_0"}) {
      reports::Row row;
      row.kind = "accuracy", row.device = "d", row.model = "m", row.format = format, row.activations = "int8", row.suite = "math", row.suite_sha256 = "sha";
      row.result.item.value = fmt::format("math-{}", i);
      row.result.index = i;
      row.result.scores["accuracy"] = i < 5 && row.format == "Q4_0" ? 0 : 1;
      results.rows.push_back(std::move(row));
    }
  }
  const reports::RunSummary summary = reports::summarize(results);
  REQUIRE(summary.chosen.size() == 2);
  CHECK(summary.chosen[0].accuracy.value == Approx(1));
  CHECK(summary.chosen[1].accuracy.value == Approx(0.95));
  CHECK(summary.chosen[1].difference->value == Approx(-0.05));
  CHECK(summary.chosen[1].lost == 5);
  CHECK_FALSE(summary.formats.back().pooled.has_value());
  const reports::SuiteScore& suite = summary.formats.back().suites.front();  // what other tables and results.json show
  CHECK(suite.accuracy.value == Approx(0.95));
  CHECK(suite.aggregates.empty());
  CHECK_FALSE(suite.against_baseline->retention.has_value());
  CHECK(suite.against_baseline->lost == 5);
  CHECK(reports::terminal_table(summary, 0).find("weighted by inclusion probability") != std::string::npos);
}
