#include "reports/tables/aggregates.h"

#include "reports/statistics/interval.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>
#include <set>
#include <string_view>

namespace quantfleet::reports {
namespace {

// Scores that are numbers of their own for each item.
bool is_mean(std::string_view score) {
  return score.starts_with("accuracy_") || score.starts_with("no_answer") || score == "truncated" || score == "refused" || score == "stereotype" || score == "likelihood_difference";
}
const std::vector<int> kUsualPassAt = {1, 2, 5, 8, 10, 16, 20, 32, 50, 64, 100, 200};

class Rows {
 public:
  explicit Rows(std::span<const ItemResult* const> rows) {
    for (const ItemResult* row : rows)
      if (!row->error) rows_.push_back(row);
  }
  const std::vector<const ItemResult*>& all() const { return rows_; }

  std::vector<double> values(const std::string& score) const {
    std::vector<double> values;
    for (const ItemResult* row : rows_)
      if (const auto found = row->scores.find(score); found != row->scores.end() && std::isfinite(found->second)) values.push_back(found->second);
    return values;
  }
  bool has(const std::string& score) const { return !values(score).empty(); }
  double sum(const std::string& score) const {
    double total = 0;
    for (const double value : values(score)) total += value;
    return total;
  }

 private:
  std::vector<const ItemResult*> rows_;
};

Aggregate mean_of(std::string name, const std::vector<double>& values) {
  const statistics::Estimate mean = statistics::mean(values);
  return {std::move(name), mean.value, mean.standard_error, static_cast<int>(values.size())};
}

// How far the marks can be trusted: shown whatever a task names.
bool is_always_shown(std::string_view number) {
  return number.starts_with("no_answer") || number == "truncated" || number.starts_with("output_tokens_");
}

// Of BBQ: how far answers that name somebody lean towards the stereotype, -1 to 1.
double lean(double biased, double named) { return biased == 0 ? 0 : 2 * biased / named - 1; }

}  // namespace

std::string_view item_of(std::string_view row_id) { return row_id.substr(0, row_id.rfind("/sample-")); }

std::vector<double> values_by_item(std::span<const ItemResult* const> rows, const std::string& score) {
  std::map<std::string_view, std::pair<double, int>> sums;
  for (const ItemResult* row : rows) {
    const auto found = row->scores.find(score);
    if (row->error || found == row->scores.end() || !std::isfinite(found->second)) continue;
    auto& [sum, count] = sums[item_of(row->item.value)];
    sum += found->second;
    ++count;
  }
  std::vector<double> values;
  for (const auto& [item, sum] : sums) values.push_back(sum.first / sum.second);
  return values;
}

double pass_at_k(int samples, int correct, int k) {
  if (samples - correct < k) return 1;
  double all_fail = 1;
  for (int i = samples - correct + 1; i <= samples; ++i) all_fail *= 1 - static_cast<double>(k) / i;
  return 1 - all_fail;
}

namespace {

// Every number that the rows allow; of pass@k those of the k, or else the usual ones.
std::vector<Aggregate> all_aggregates(std::span<const ItemResult* const> given, const std::vector<int>& pass_at) {
  const Rows rows(given);
  std::vector<Aggregate> all;
  const auto items = static_cast<int>(rows.all().size());
  const auto ratio = [&](const char* name, double value) { all.push_back({name, value, std::nullopt, items}); };
  std::set<std::string> names;
  for (const ItemResult* row : rows.all())
    for (const auto& [name, value] : row->scores)
      if (is_mean(name)) names.insert(name);
  for (const std::string& name : names)
    if (const auto values = values_by_item(given, name); !values.empty()) all.push_back(mean_of(name, values));
  if (rows.has("nll") && !rows.has("tokens")) ratio("perplexity", std::exp(statistics::mean(rows.values("nll")).value));
  if (rows.has("words") && rows.sum("bytes") > 0) {
    const double nll = rows.sum("nll");
    ratio("word_perplexity", std::exp(nll / rows.sum("words")));
    ratio("byte_perplexity", std::exp(nll / rows.sum("bytes")));
    ratio("bits_per_byte", nll / (rows.sum("bytes") * std::numbers::ln2));
  }
  if (rows.sum("tokens") > 0) ratio("token_perplexity", std::exp(rows.sum("nll") / rows.sum("tokens")));
  if (const double count = rows.sum("instructions"); count > 0) {
    ratio("instruction_level_strict", rows.sum("instructions_strict") / count);
    ratio("instruction_level_loose", rows.sum("instructions_loose") / count);
  }
  for (const std::string kind : {"ambiguous", "disambiguated"}) {
    const double count = rows.sum(kind);
    if (count == 0) continue;
    const double accuracy = rows.sum(kind + "_right") / count, leaning = lean(rows.sum(kind + "_biased"), rows.sum(kind + "_named"));
    ratio(("accuracy_" + kind).c_str(), accuracy);
    ratio(("bias_" + kind).c_str(), kind == "ambiguous" ? (1 - accuracy) * leaning : leaning);
  }
  std::map<std::string_view, std::pair<int, int>> samples;  // by item: how many, how many passed
  for (const ItemResult* row : rows.all()) {
    const std::string_view item = item_of(row->item.value);
    if (item == row->item.value) continue;
    auto& [count, passed] = samples[item];
    ++count;
    if (const auto score = row->scores.find("accuracy"); score != row->scores.end()) passed += score->second == 1;
  }
  for (const int k : pass_at) {
    std::vector<double> values;
    for (const auto& [item, counts] : samples)
      if (counts.first >= k) values.push_back(pass_at_k(counts.first, counts.second, k));
    if (!values.empty() && values.size() == samples.size()) all.push_back(mean_of(fmt::format("pass@{}", k), values));
  }
  if (rows.has("truncated")) {
    std::vector<double> lengths;
    for (const ItemResult* row : rows.all()) lengths.push_back(row->generated_tokens);
    all.push_back(mean_of("output_tokens_mean", lengths));
    ratio("output_tokens_p50", statistics::quantile(lengths, 0.5));
    ratio("output_tokens_p95", statistics::quantile(lengths, 0.95));
  }
  return all;
}

}  // namespace

std::vector<Aggregate> aggregates_of(std::span<const ItemResult* const> rows, std::span<const Aggregation> wanted) {
  if (wanted.empty()) return all_aggregates(rows, kUsualPassAt);
  std::vector<int> pass_at;
  for (const Aggregation& one : wanted)
    if (const int k = samples_of_pass_at(one.number); k > 0) pass_at.push_back(k);
  const std::vector<Aggregate> all = all_aggregates(rows, pass_at);
  std::vector<Aggregate> chosen;
  for (const Aggregation& one : wanted) {
    if (one.function == "median") {
      if (const auto values = values_by_item(rows, one.number); !values.empty())
        chosen.push_back({one.number + "_median", statistics::quantile(values, 0.5), std::nullopt, static_cast<int>(values.size())});
      continue;
    }
    const auto found = std::find_if(all.begin(), all.end(), [&](const Aggregate& a) { return a.name == one.number; });
    if (found != all.end()) chosen.push_back(*found);
  }
  std::copy_if(all.begin(), all.end(), std::back_inserter(chosen), [](const Aggregate& one) { return is_always_shown(one.name); });
  return chosen;
}

std::map<std::string, Aggregate> accuracy_by_group(std::span<const ItemResult* const> rows) {
  std::map<std::string, std::vector<const ItemResult*>> members;
  for (const ItemResult* row : rows)
    if (!row->group.empty()) members[row->group].push_back(row);
  std::map<std::string, Aggregate> groups;
  for (const auto& [group, of_group] : members)
    if (const auto values = values_by_item(of_group, "accuracy"); !values.empty()) groups.emplace(group, mean_of("accuracy", values));
  return groups;
}

}  // namespace quantfleet::reports
