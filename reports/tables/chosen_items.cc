#include "reports/tables/chosen_items.h"

#include "reports/statistics/informative.h"

#include <algorithm>
#include <tuple>

namespace quantfleet::reports {

bool is_chosen(const RunResults& results, const std::string& suite) { return results.chosen.contains(suite); }

std::vector<ChosenLine> chosen_lines(const RunResults& results) {
  using Line = std::tuple<std::string, std::string, std::string, std::string>;  // model, format, activations, KV cache
  std::vector<ChosenLine> lines;
  for (const SuiteInfo& suite : results.suites) {
    const auto chosen = results.chosen.find(suite.name);
    if (chosen == results.chosen.end()) continue;
    std::map<Line, std::map<int, double>> marks;
    for (const Row& row : results.rows) {
      const auto accuracy = row.result.scores.find("accuracy");
      if (row.kind == "accuracy" && row.suite == suite.name && !row.result.error && accuracy != row.result.scores.end())
        marks[{row.model, row.format, row.activations, row.kv}].emplace(row.result.index, accuracy->second);
    }
    const std::size_t first = lines.size();
    for (const auto& [line, items] : marks) {
      ChosenLine& out = lines.emplace_back();
      std::tie(out.model, out.format, out.activations, out.kv) = line;
      out.suite = suite.name;
      out.of = suite.items;
      std::vector<double> values, probabilities;
      for (const auto& [index, mark] : items)
        if (const auto item = chosen->second.find(index); item != chosen->second.end()) values.push_back(mark), probabilities.push_back(item->second);
      out.items = static_cast<int>(values.size());
      out.accuracy = statistics::weighted_mean(values, probabilities);
      out.accuracy_interval = statistics::weighted_interval(values, probabilities, suite.items, 0, 1);
      if (out.format == results.baseline && out.kv == results.baseline_kv) continue;
      // The baseline with the same activations, else with its own kind.
      const std::map<int, double>* baseline = nullptr;
      for (const auto& [other, its] : marks)
        if (std::get<0>(other) == out.model && std::get<1>(other) == results.baseline && std::get<3>(other) == results.baseline_kv &&
            (!baseline || std::get<2>(other) == out.activations))
          baseline = &its;
      if (!baseline) continue;
      values.clear(), probabilities.clear();
      for (const auto& [index, mark] : items) {
        const auto item = chosen->second.find(index);
        const auto before = baseline->find(index);
        if (item == chosen->second.end() || before == baseline->end()) continue;
        values.push_back(mark - before->second), probabilities.push_back(item->second);
        out.lost += mark < before->second, out.gained += mark > before->second;
      }
      if (values.empty()) continue;
      out.difference = statistics::weighted_mean(values, probabilities);
      out.difference_interval = statistics::weighted_interval(values, probabilities, suite.items, -1, 1);
    }
    const auto rank = [&](const ChosenLine& l) {
      return l.format == results.baseline ? -1 : std::find(results.formats.begin(), results.formats.end(), l.format) - results.formats.begin();
    };
    std::stable_sort(lines.begin() + static_cast<std::ptrdiff_t>(first), lines.end(), [&](const ChosenLine& a, const ChosenLine& b) {
      return std::tuple(a.model, rank(a), a.activations, a.kv) < std::tuple(b.model, rank(b), b.activations, b.kv);
    });
  }
  return lines;
}

}  // namespace quantfleet::reports
