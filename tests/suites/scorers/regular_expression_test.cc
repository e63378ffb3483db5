#include "suites/scorers/regular_expression.h"

#include "suites/scorers/exact_match.h"
#include "suites/scorers/scorer.h"

#include <catch2/catch.hpp>

#include <set>

using namespace quantfleet;

TEST_CASE("all matches are found from left to right with their groups", "[scorers]") {
  const auto number = RegularExpression::compile("(-)?([0-9]+)");
  REQUIRE(number.has_value());
  const auto matches = number->find_all("1 and -23");
  REQUIRE(matches.has_value());
  REQUIRE(matches->size() == 2);
  CHECK((*matches)[0].groups == std::vector<std::string>{"1", "", "1"});
  CHECK((*matches)[1].groups == std::vector<std::string>{"-23", "-", "23"});
  CHECK(RegularExpression::compile("x*")->find_all("aéx")->size() == 4);  // empty ones too, one per character
}

TEST_CASE("a bad or a runaway pattern is an error, not a hang", "[scorers]") {
  CHECK(RegularExpression::compile("(").error().detail.find("at byte 1") != std::string::npos);
  CHECK(RegularExpression::compile("(a+)+$")->find_all(std::string(5000, 'a') + "b").error().code == Code::kTooLarge);
}

TEST_CASE("decimal numbers have one spelling", "[scorers]") {
  CHECK(canonical_decimal("007.50") == "7.5");
  CHECK(canonical_decimal("-0") == "0");
  CHECK(canonical_decimal("+3.") == "3");
  CHECK(canonical_decimal(".5") == "0.5");
  CHECK(canonical_decimal("1e3") == "1e3");
  CHECK(canonical_decimal("") == "");
  CHECK(canonical_decimal("-") == "-");
}

TEST_CASE("scorers have different names and are found by them", "[scorers]") {
  std::set<std::string_view> names;
  for (const ScorerType& scorer : all_scorers()) {
    CHECK(names.insert(scorer.name).second);
    CHECK(find_scorer(scorer.name) == &scorer);
  }
  CHECK(find_scorer("nope") == nullptr);
}
