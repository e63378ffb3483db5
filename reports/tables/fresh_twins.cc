#include "reports/tables/fresh_twins.h"

#include "contract/twins.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace quantfleet::reports {
namespace {

using Line = std::tuple<std::string, std::string, std::string, std::string>;  // model, format, activations, KV cache
using Scores = std::map<std::string, double>;                    // accuracy by item
using BySuite = std::map<std::string, Scores>;

std::map<Line, BySuite> scores_of(const RunResults& results) {
  std::map<Line, BySuite> scores;
  for (const Row& row : results.rows) {
    const auto accuracy = row.result.scores.find("accuracy");
    if (row.kind != "accuracy" || row.result.error || accuracy == row.result.scores.end()) continue;
    scores[{row.model, row.format, row.activations, row.kv}][row.suite].emplace(row.result.item.value, accuracy->second);
  }
  return scores;
}

statistics::Estimate mean_of(const Scores& scores) {
  std::vector<double> values;
  for (const auto& [item, score] : scores) values.push_back(score);
  return statistics::mean(values);
}

// Mean of to - from over the items that both have.
statistics::Estimate paired(const Scores& from, const Scores& to) {
  std::vector<double> differences;
  for (const auto& [item, score] : to)
    if (const auto other = from.find(item); other != from.end()) differences.push_back(score - other->second);
  return statistics::mean(differences);
}

// By model, suite and format in the plan's order, the baseline first.
template <class Line>
void sort_lines(std::vector<Line>& lines, const RunResults& results) {
  const auto rank = [&](const Line& l) {
    return l.format == results.baseline ? -1 : std::find(results.formats.begin(), results.formats.end(), l.format) - results.formats.begin();
  };
  std::stable_sort(lines.begin(), lines.end(), [&](const Line& a, const Line& b) {
    return std::tuple(a.model, a.suite, rank(a), a.activations, a.kv) < std::tuple(b.model, b.suite, rank(b), b.activations, b.kv);
  });
}

}  // namespace

std::vector<TwinLine> twin_lines(const RunResults& results) {
  std::vector<TwinLine> lines;
  const std::map<Line, BySuite> all = scores_of(results);
  for (const auto& [line, suites] : all)
    for (const auto& [name, fresh] : suites) {
      TwinName twin;
      if (!read_twin_name(name, twin)) continue;
      const auto original = suites.find(twin.original);
      if (original == suites.end() || paired(original->second, fresh).count == 0) continue;
      TwinLine& out = lines.emplace_back();
      std::tie(out.model, out.format, out.activations, out.kv) = line;
      out.suite = twin.original;
      out.seed = twin.seed;
      out.original = mean_of(original->second);
      out.fresh = mean_of(fresh);
      out.difference = paired(original->second, fresh);
      if (out.format == results.baseline && out.kv == results.baseline_kv) continue;
      // The baseline with the same activations, else with its own kind.
      const BySuite* baseline = nullptr;
      for (const auto& [other, its] : all)
        if (std::get<0>(other) == out.model && std::get<1>(other) == results.baseline && std::get<3>(other) == results.baseline_kv &&
            (!baseline || std::get<2>(other) == out.activations))
          baseline = &its;
      if (!baseline || !baseline->contains(name) || !baseline->contains(twin.original)) continue;
      if (const auto loss = paired(baseline->at(twin.original), original->second); loss.count > 0) out.original_loss = loss;
      if (const auto loss = paired(baseline->at(name), fresh); loss.count > 0) out.fresh_loss = loss;
    }
  sort_lines(lines, results);
  return lines;
}

std::vector<TwinNights> twin_nights(const RunResults& before, const RunResults& after) {
  std::vector<TwinNights> nights;
  const std::map<Line, BySuite> earlier = scores_of(before), later = scores_of(after);
  for (const auto& [line, suites] : later) {
    const auto same_line = earlier.find(line);
    if (same_line == earlier.end()) continue;
    for (const auto& [name, fresh] : suites)
      for (const auto& [other_name, other] : same_line->second) {
        TwinName twin, old;
        if (!read_twin_name(name, twin) || !read_twin_name(other_name, old) || twin.original != old.original || twin.seed == old.seed) continue;
        TwinNights& out = nights.emplace_back();
        std::tie(out.model, out.format, out.activations, out.kv) = line;
        out.suite = twin.original;
        out.seed_before = old.seed, out.seed_after = twin.seed;
        out.before = mean_of(other), out.after = mean_of(fresh);
        out.difference = {out.after.value - out.before.value, std::hypot(out.before.standard_error, out.after.standard_error),
                          std::min(out.before.count, out.after.count)};
      }
  }
  sort_lines(nights, after);
  return nights;
}

}  // namespace quantfleet::reports
