#include "contract/twins.h"
#include "reports/html/page.h"
#include "reports/tables/export.h"
#include "reports/tables/summary.h"
#include "reports/tables/terminal.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cmath>

using namespace quantfleet;
using namespace quantfleet::reports;

namespace {

// 40 items; of the static ones the format loses `lost_static`, of the fresh ones `lost_fresh`. The baseline knows all static and all but
// four fresh ones.
RunResults night(std::uint64_t seed, int lost_static, int lost_fresh) {
  RunResults results;
  results.run = "run";
  results.baseline = "F16";
  results.formats = {"F16", "Q4_0"};
  for (const std::string& name : {std::string("math"), twin_name("math", seed)}) {
    results.suites.push_back({name, "1", "sha", "math", "generate", 40, 0, ""});
    results.items_of.push_back(40);
    for (const char* format : {"F16", "Q4_0"})
      for (int i = 0; i < 40; ++i) {
        Row row;
        row.kind = "accuracy", row.device = "d", row.model = "m", row.format = format, row.activations = "int8", row.suite = name, row.suite_sha256 = "sha";
        row.result.item.value = fmt::format("math-{:04}", i);
        row.result.index = i;
        const int wrong = (is_twin(name) ? 4 : 0) + (row.format == "F16" ? 0 : is_twin(name) ? lost_fresh : lost_static);
        row.result.scores["accuracy"] = i < wrong ? 0 : 1;
        results.rows.push_back(std::move(row));
      }
  }
  return results;
}

}  // namespace

TEST_CASE("a twin's name says original and seed, and nothing else is one", "[twins]") {
  TwinName name;
  REQUIRE(read_twin_name(twin_name("math", 20261125), name));
  CHECK((name.original == "math" && name.seed == 20261125));
  for (const char* other : {"math", "math~", "math~x", "math~007", "~1", "mmlu~1", "math~1~2", "math~-1", "math~99999999999999999999999"}) CHECK_FALSE(read_twin_name(other, name));
}

TEST_CASE("within a night static and fresh items are paired, and so are formats with the baseline on both", "[reports][twins]") {
  const RunSummary summary = summarize(night(7, 2, 6));
  REQUIRE(summary.twins.size() == 2);
  const TwinLine &baseline = summary.twins[0], &format = summary.twins[1];
  CHECK(baseline.difference.value == Approx(-0.1));
  CHECK_FALSE(baseline.original_loss.has_value());
  CHECK(format.original.value == Approx(0.95));
  CHECK(format.fresh.value == Approx(0.75));
  CHECK(format.difference.value == Approx(-0.2));
  CHECK(format.difference.standard_error == Approx(std::sqrt(0.2 * 0.8 / 39)));  // eight of 40 pairs differ: far less than unpaired
  CHECK(format.original_loss->value == Approx(-0.05));
  CHECK(format.fresh_loss->value == Approx(-0.15));
  CHECK(summary.formats.back().pooled->areas.front().items == 40);  // twins stay out of the areas' numbers
  CHECK(terminal_table(summary, 0).find("Fresh twins, seed 7: items paired with their twins") != std::string::npos);
  const auto json = summary_json(summary);
  CHECK(json["twins"][1]["fresh_loss"]["value"].get<double>() == Approx(-0.15));
  CHECK(html_page(summary).find("\"twins\"") != std::string::npos);
}

TEST_CASE("fresh twins of two nights are compared unpaired, and the report says so", "[reports][twins]") {
  const RunSummary summary = summarize_against(night(7, 0, 0), night(8, 0, 8));
  REQUIRE(summary.twin_nights.size() == 2);
  const TwinNights& nights = summary.twin_nights[1];
  CHECK((nights.seed_before == 7 && nights.seed_after == 8));
  CHECK(nights.difference.value == Approx(-0.2));
  CHECK(nights.difference.standard_error == Approx(std::hypot(nights.before.standard_error, nights.after.standard_error)));
  CHECK(terminal_table(summary, 0).find("different items, so unpaired") != std::string::npos);
  CHECK(summarize_against(night(7, 0, 0), night(7, 0, 8)).twin_nights.empty());
}
