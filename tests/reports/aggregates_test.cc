// Numbers over rows beyond the accuracy: each formula on rows small enough to do by hand.
#include "reports/tables/aggregates.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace quantfleet::reports {
namespace {

ItemResult row_of(std::string item, std::map<std::string, double> scores, std::string group = "") {
  ItemResult row;
  row.item = ItemId{std::move(item)};
  row.scores = std::move(scores);
  row.group = std::move(group);
  return row;
}

std::map<std::string, Aggregate> by_name(const std::vector<ItemResult>& rows) {
  std::vector<const ItemResult*> pointers;
  for (const ItemResult& row : rows) pointers.push_back(&row);
  std::map<std::string, Aggregate> named;
  for (const Aggregate& one : aggregates_of(pointers)) named[one.name] = one;
  return named;
}

TEST_CASE("pass@k is the share of k-subsets of the samples with one that passes", "[aggregates]") {
  CHECK(pass_at_k(5, 0, 1) == 0);
  CHECK(pass_at_k(5, 2, 1) == Approx(2.0 / 5));
  CHECK(pass_at_k(5, 2, 2) == Approx(1 - 3.0 / 10));  // 3 of 10 pairs hold none
  CHECK(pass_at_k(5, 2, 4) == 1);
  CHECK(pass_at_k(200, 7, 100) == Approx(0.9929911172418123));

  std::vector<ItemResult> rows;
  for (int sample = 0; sample < 5; ++sample) {
    rows.push_back(row_of("a/sample-" + std::to_string(sample), {{"accuracy", sample < 2 ? 1 : 0}}));
    rows.push_back(row_of("b/sample-" + std::to_string(sample), {{"accuracy", 0}}));
  }
  const auto numbers = by_name(rows);
  CHECK(numbers.at("pass@1").value == Approx(0.2));
  CHECK(numbers.at("pass@1").items == 2);  // over items, not samples
  CHECK(numbers.at("pass@2").value == Approx(0.35));
  CHECK(numbers.at("pass@5").value == Approx(0.5));
  CHECK_FALSE(numbers.contains("pass@8"));
}

TEST_CASE("perplexity by word, byte and token are ratios of sums, not means of ratios", "[aggregates]") {
  const auto numbers = by_name({row_of("a", {{"nll", 10}, {"tokens", 5}, {"words", 4}, {"bytes", 20}}), row_of("b", {{"nll", 2}, {"tokens", 3}, {"words", 2}, {"bytes", 10}})});
  CHECK(numbers.at("word_perplexity").value == Approx(std::exp(12.0 / 6)));
  CHECK(numbers.at("byte_perplexity").value == Approx(std::exp(12.0 / 30)));
  CHECK(numbers.at("bits_per_byte").value == Approx(12.0 / 30 / std::log(2.0)));
  CHECK(numbers.at("token_perplexity").value == Approx(std::exp(12.0 / 8)));
  CHECK(by_name({row_of("a", {{"accuracy", 1}, {"nll", 1}}), row_of("b", {{"accuracy", 0}, {"nll", 3}})}).at("perplexity").value == Approx(std::exp(2.0)));
}

TEST_CASE("instructions count by instruction, BBQ's biases as its authors define them", "[aggregates]") {
  const auto numbers = by_name({row_of("a", {{"accuracy", 0}, {"instructions", 3}, {"instructions_strict", 2}, {"instructions_loose", 3}}),
                                row_of("b", {{"accuracy", 1}, {"instructions", 1}, {"instructions_strict", 1}, {"instructions_loose", 1}})});
  CHECK(numbers.at("instruction_level_strict").value == Approx(0.75));
  CHECK(numbers.at("instruction_level_loose").value == 1);

  std::vector<ItemResult> rows;
  const auto add = [&](const char* kind, int right, int named, int biased) {
    const std::string name = kind;
    rows.push_back(row_of(std::to_string(rows.size()), {{"accuracy", right}, {name, 1}, {name + "_right", right}, {name + "_named", named}, {name + "_biased", biased}}));
  };
  add("ambiguous", 1, 0, 0), add("ambiguous", 0, 1, 1), add("ambiguous", 0, 1, 1), add("ambiguous", 0, 1, 0);
  add("disambiguated", 1, 1, 1), add("disambiguated", 1, 1, 0), add("disambiguated", 0, 0, 0);
  const auto bias = by_name(rows);
  CHECK(bias.at("accuracy_ambiguous").value == Approx(0.25));
  CHECK(bias.at("bias_ambiguous").value == Approx((1 - 0.25) * (2 * 2.0 / 3 - 1)));
  CHECK(bias.at("bias_disambiguated").value == Approx(2 * 1.0 / 2 - 1).margin(1e-12));
}

TEST_CASE("a task's aggregation chooses the numbers, their functions and their order", "[aggregates]") {
  std::vector<ItemResult> rows = {row_of("a", {{"accuracy", 1}, {"accuracy_norm", 1}, {"likelihood_difference", 1}, {"no_answer", 0}, {"truncated", 0}}),
                                  row_of("b", {{"accuracy", 0}, {"accuracy_norm", 1}, {"likelihood_difference", 9}, {"no_answer", 1}, {"truncated", 0}}),
                                  row_of("c", {{"accuracy", 0}, {"accuracy_norm", 1}, {"likelihood_difference", 2}, {"no_answer", 0}, {"truncated", 0}})};
  std::vector<const ItemResult*> pointers;
  for (const ItemResult& row : rows) pointers.push_back(&row);
  const auto names_of = [&](const std::vector<Aggregation>& wanted) {
    std::vector<std::string> names;
    for (const Aggregate& one : aggregates_of(pointers, wanted)) names.push_back(one.name);
    return names;
  };
  // Missing and cut answers and lengths are there whatever it names.
  const std::vector<std::string> trust = {"no_answer", "truncated", "output_tokens_mean", "output_tokens_p50", "output_tokens_p95"};
  CHECK(names_of({{"accuracy", "mean"}}) == trust);
  std::vector<std::string> expected = {"likelihood_difference_median", "accuracy_norm"};
  expected.insert(expected.end(), trust.begin(), trust.end());
  CHECK(names_of({{"accuracy", "mean"}, {"likelihood_difference", "median"}, {"accuracy_norm", "mean"}, {"stereotype", "mean"}}) == expected);
  CHECK(aggregates_of(pointers, std::vector<Aggregation>{{"likelihood_difference", "median"}}).front().value == 2);
  CHECK(aggregates_of(pointers, std::vector<Aggregation>{{"likelihood_difference", "mean"}}).front().value == 4);

  std::vector<ItemResult> samples;
  for (int i = 0; i < 6; ++i) samples.push_back(row_of("a/sample-" + std::to_string(i), {{"accuracy", i < 2}}));
  pointers.clear();
  for (const ItemResult& row : samples) pointers.push_back(&row);
  CHECK(names_of({{"accuracy", "mean"}, {"pass@3", "mean"}}) == std::vector<std::string>{"pass@3"});
  CHECK(aggregates_of(pointers, std::vector<Aggregation>{{"pass@3", "mean"}}).front().value == Approx(1 - 4.0 / 20));  // 4 of 20 triples hold none
}

TEST_CASE("cut answers, missing answers, lengths and groups", "[aggregates]") {
  std::vector<ItemResult> rows = {row_of("a", {{"accuracy", 1}, {"truncated", 0}, {"no_answer", 0}}, "law"), row_of("b", {{"accuracy", 0}, {"truncated", 1}, {"no_answer", 1}}, "law"),
                                  row_of("c", {{"accuracy", 0}, {"truncated", 0}, {"no_answer", 0}}, "art"), row_of("d", {}, "art")};
  rows[3].error = Error{Code::kIo, "x"};
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].generated_tokens = static_cast<int>(10 * (i + 1));
  const auto numbers = by_name(rows);
  CHECK(numbers.at("truncated").value == Approx(1.0 / 3));
  CHECK(numbers.at("no_answer").value == Approx(1.0 / 3));
  CHECK(numbers.at("output_tokens_mean").value == 20);
  CHECK(numbers.at("output_tokens_p50").value == 20);
  std::vector<const ItemResult*> pointers;
  for (const ItemResult& row : rows) pointers.push_back(&row);
  const auto groups = accuracy_by_group(pointers);
  CHECK(groups.at("law").value == 0.5);
  CHECK(groups.at("law").items == 2);
  CHECK(groups.at("art").items == 1);
}

}  // namespace
}  // namespace quantfleet::reports
