#include "models/reference/corpus/suites.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

namespace quantfleet::reference {
namespace {

// "73" for 37: least significant digit first.
int number(std::string digits) {
  std::reverse(digits.begin(), digits.end());
  return std::stoi(digits);
}

}  // namespace

TEST_CASE("fresh twins have their originals' ids and classes and nothing else of them", "[suites][twins]") {
  const Area area = GENERATE(Area::kReasoning, Area::kMath);
  CAPTURE(name_of(area));
  const Corpus corpus;
  const auto originals = suite_items(corpus, area);
  const auto night = fresh_twins(corpus, area, originals, 20261125), other = fresh_twins(corpus, area, originals, 20261126);
  REQUIRE(night.size() == originals.size());
  REQUIRE(other.size() == originals.size());
  std::set<std::string> prompts, fresh;
  for (const Item& item : originals) prompts.insert(item.prompt);
  int common = 0;
  for (std::size_t i = 0; i < night.size(); ++i) {
    CAPTURE(i, night[i].prompt);
    CHECK(night[i].id == originals[i].id);
    CHECK(night[i].difficulty == originals[i].difficulty);
    CHECK_FALSE(prompts.contains(night[i].prompt));
    CHECK(fresh.insert(night[i].prompt).second);
    CHECK(night[i].choices.size() == originals[i].choices.size());
  }
  for (const Item& item : other) common += fresh.contains(item.prompt);
  CHECK(common < static_cast<int>(night.size()) / 2);  // small classes repeat some; most of a night is new
  CHECK(items_jsonl(fresh_twins(corpus, area, originals, 20261125), area) == items_jsonl(night, area));
}

TEST_CASE("the answers of fresh sums are right", "[suites][twins]") {
  const Corpus corpus;
  for (const Item& item : fresh_twins(corpus, Area::kMath, suite_items(corpus, Area::kMath), 5)) {
    CAPTURE(item.prompt, item.target);
    const std::size_t sign = item.prompt.find_first_of("+-");
    const int a = number(item.prompt.substr(0, sign)), b = number(item.prompt.substr(sign + 1, item.prompt.size() - sign - 2));
    CHECK(number(item.target) == (item.prompt[sign] == '+' ? a + b : a - b));
  }
}

}  // namespace quantfleet::reference
