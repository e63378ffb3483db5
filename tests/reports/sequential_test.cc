// Sequential verdicts: how often they are wrong when asked after every item, how soon they come, what their intervals cover.
#include "reports/statistics/random.h"
#include "reports/statistics/sequential.h"
#include "reports/tables/area_verdicts.h"
#include "reports/tables/terminal.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

using namespace quantfleet;
using namespace quantfleet::statistics;

namespace {

// Paired differences of an area: an item is lost with probability `lost`, gained with `gained`.
std::vector<double> pairs(std::uint64_t seed, int count, double lost, double gained) {
  Random random(seed * 1'000'003);
  std::vector<double> x;
  for (int i = 0; i < count; ++i) {
    const double u = static_cast<double>(random.next() >> 11) * 0x1p-53;
    x.push_back(u < lost ? -1 : u < lost + gained ? 1 : 0);
  }
  return x;
}

struct Outcome {
  double same = 0, worse = 0;
  int median_items = 0;
};

Outcome simulate(int runs, int count, double lost, double gained) {
  Outcome outcome;
  std::vector<int> items;
  for (int run = 0; run < runs; ++run) {
    const auto answer = sequential_verdict(pairs(static_cast<std::uint64_t>(run), count, lost, gained), 0.02, 0.05);
    outcome.same += answer.verdict == Verdict::kSame;
    outcome.worse += answer.verdict == Verdict::kWorse;
    items.push_back(static_cast<int>(answer.items));
  }
  std::nth_element(items.begin(), items.begin() + runs / 2, items.end());
  outcome.median_items = items[static_cast<std::size_t>(runs / 2)];
  outcome.same /= runs, outcome.worse /= runs;
  return outcome;
}

}  // namespace

TEST_CASE("asked after every item, a wrong verdict stays below its level", "[statistics][sequential]") {
  const int runs = 2000;
  const double noise = 3 * std::sqrt(0.05 * 0.95 / runs);
  for (const double flips : {0.02, 0.06, 0.2}) {
    CAPTURE(flips);
    CHECK(simulate(runs, 3000, flips / 2 + 0.01, flips / 2 - 0.01).same < 0.05 + noise);  // exactly the margin lost: SAME would be wrong
    CHECK(simulate(runs, 3000, flips / 2, flips / 2).worse < 0.05 + noise);               // nothing lost: WORSE would be wrong
  }
}

TEST_CASE("looking at a fixed-number test after every item would break its level", "[statistics][sequential]") {
  int wrong = 0;  // the reason for all this: the one-sided z test at 5 %, asked after every item
  for (std::uint64_t run = 0; run < 500; ++run) {
    double sum = 0, squares = 0;
    int n = 0;
    for (const double x : pairs(run, 3000, 0.05, 0.05)) {
      sum += x, squares += x * x, ++n;
      if (n >= 30 && squares > 0 && sum / std::sqrt(squares) < -1.645) {
        ++wrong;
        break;
      }
    }
  }
  CHECK(wrong > 125);  // above 25 %
}

TEST_CASE("clear cases are decided early, and harmless ones with few items", "[statistics][sequential]") {
  const Outcome identical = simulate(1, 3000, 0, 0), harmless = simulate(200, 3000, 0.005, 0.005), bad = simulate(200, 3000, 0.14, 0.02),
                broken = simulate(200, 3000, 0.5, 0);
  CHECK(identical.same == 1);
  CHECK(identical.median_items < 210);
  CHECK(harmless.same > 0.97);
  CHECK(harmless.median_items < 400);
  CHECK(bad.worse == 1);
  CHECK(bad.median_items < 100);
  CHECK(broken.median_items < 15);
}

TEST_CASE("the interval covers the true difference at all times", "[statistics][sequential]") {
  int missed = 0;
  for (std::uint64_t run = 0; run < 150; ++run) {
    const auto x = pairs(run, 1200, 0.08, 0.04);
    bool miss = false;
    for (const std::size_t n : {20u, 60u, 150u, 400u, 1200u}) miss = miss || !sequential_interval(std::span(x).first(n), 0.05).contains(-0.04);
    missed += miss;
  }
  CHECK(missed < 0.1 * 150);
  const Interval nothing = sequential_interval({}, 0.05);
  CHECK(nothing.low == Approx(-1));
  CHECK(nothing.high == Approx(1));
  const auto x = pairs(1, 3000, 0.08, 0.04);
  const Interval narrow = sequential_interval(x, 0.05);
  CHECK(narrow.high - narrow.low < 0.04);  // 0.035: 1.4 times the normal interval for a fixed number of pairs
}

TEST_CASE("asked pair by pair, the rule says what the whole series says", "[statistics][sequential]") {
  for (const double lost : {0.0, 0.02, 0.2}) {
    const auto x = pairs(3, 2000, lost, 0.01);
    const auto question = BettingRule().ask(0.02, 0.05);
    const SequentialVerdict whole = sequential_verdict(x, 0.02, 0.05);
    for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(question->add(x[i]) == (i + 1 < whole.items ? Verdict::kUnknown : whole.verdict));
  }
}

TEST_CASE("the verdict is that of the first items that suffice, whatever came later", "[statistics][sequential]") {
  std::vector<double> x(60, -1.0);
  x.resize(5000, 1.0);
  const auto answer = sequential_verdict(x, 0.02, 0.05);
  CHECK(answer.verdict == Verdict::kWorse);
  CHECK(answer.items < 15);
}

namespace {

reports::RunResults run_until_verdict(double lost) {
  reports::RunResults results;
  results.baseline = "F16";
  results.formats = {"F16", "Q4_0"};
  results.until = UntilVerdict{};
  results.unit_items = 10;
  for (const char* name : {"sums", "products"}) {
    results.suites.push_back({name, "1", "sha", "math", "generate", 400, 0, ""});
    results.items_of.push_back(400);
  }
  for (const char* name : {"sums", "products"})
    for (const char* format : {"F16", "Q4_0"})
      for (int i = 0; i < 200; ++i) {
        reports::Row row;
        row.kind = "accuracy", row.device = "d", row.model = "m", row.format = format, row.activations = "int8", row.suite = name, row.suite_sha256 = "sha";
        row.result.item.value = fmt::format("{}-{}", name, i);
        row.result.index = i;
        row.result.scores["accuracy"] = std::string(format) == "Q4_0" && i < 200 * lost ? 0 : 1;
        results.rows.push_back(std::move(row));
      }
  return results;
}

}  // namespace

TEST_CASE("a report recomputes the verdicts of a run from its rows, in the order in which they counted", "[reports][sequential]") {
  const reports::RunResults results = run_until_verdict(0.1);
  const auto verdicts = reports::area_verdicts(results);
  REQUIRE(verdicts.size() == 1);
  CHECK(verdicts[0].verdict == Verdict::kWorse);
  CHECK(verdicts[0].items < 15);      // the first unit of each suite is lost
  CHECK(verdicts[0].answered == 400);
  CHECK(verdicts[0].available == 800);
  CHECK(verdicts[0].difference == Approx(-0.1));
  const reports::RunSummary summary = reports::summarize(results);
  CHECK(summary.formats.back().pooled->verdict == Verdict::kWorse);
  CHECK(reports::terminal_table(summary, 0).find("valid at any time") != std::string::npos);
  const reports::RunSummary same = reports::summarize(run_until_verdict(0));
  CHECK(same.formats.back().pooled->verdict == Verdict::kSame);
}
