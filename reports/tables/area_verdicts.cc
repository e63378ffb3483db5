#include "reports/tables/area_verdicts.h"

#include "contract/twins.h"
#include "reports/statistics/sequential.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace quantfleet::reports {
namespace {

// The answers of one variant on one device by (unit's place, suite in the plan's order, item's index).
using Answers = std::map<std::tuple<int, int, int>, double>;
using Variant = std::tuple<std::string, std::string, std::string, std::string, std::string>;  // model, format, activations, KV cache, device

// Fresh twins are decided by themselves.
std::string area_of(const SuiteInfo& suite) { return is_twin(suite.name) ? suite.name : suite.area; }

}  // namespace

std::vector<AreaVerdict> area_verdicts(const RunResults& results) {
  std::vector<AreaVerdict> verdicts;
  if (!results.until) return verdicts;
  std::map<std::string, int> place_of;
  for (std::size_t i = 0; i < results.suites.size(); ++i) place_of[results.suites[i].name] = static_cast<int>(i);
  std::vector<const Row*> ordered;
  for (const Row& row : results.rows) ordered.push_back(&row);
  std::stable_sort(ordered.begin(), ordered.end(), [](const Row* a, const Row* b) { return a->device < b->device; });
  std::map<std::string, std::map<Variant, Answers>> by_area;
  for (const Row* row : ordered) {
    const auto place = place_of.find(row->suite);
    const auto score = row->result.scores.find("accuracy");
    if (row->kind != "accuracy" || place == place_of.end() || row->result.error || score == row->result.scores.end()) continue;
    const SuiteInfo& suite = results.suites[static_cast<std::size_t>(place->second)];
    by_area[area_of(suite)][{row->model, row->format, row->activations, row->kv, results.every_device ? row->device : std::string()}].emplace(
        std::tuple(row->result.index / std::max(1, results.unit_items), place->second, row->result.index), score->second);
  }
  for (const auto& [area, variants] : by_area) {
    int available = 0;
    for (std::size_t i = 0; i < results.suites.size(); ++i)
      if (area_of(results.suites[i]) == area) available += results.items_of.at(i);
    for (const auto& [variant, answers] : variants) {
      const auto& [model, format, activations, kv, device] = variant;
      if (format == results.baseline && kv == results.baseline_kv) continue;
      // The baseline with the same activations, else with its own kind (F16 has no int8 by default).
      auto baseline = variants.find({model, results.baseline, activations, results.baseline_kv, device});
      for (auto other = variants.begin(); baseline == variants.end() && other != variants.end(); ++other)
        if (std::get<0>(other->first) == model && std::get<1>(other->first) == results.baseline && std::get<3>(other->first) == results.baseline_kv &&
            std::get<4>(other->first) == device)
          baseline = other;
      if (baseline == variants.end()) continue;
      std::vector<double> differences;
      for (const auto& [place, score] : answers)
        if (const auto pair = baseline->second.find(place); pair != baseline->second.end()) differences.push_back(score - pair->second);
      const auto answer = statistics::sequential_verdict(differences, results.until->margin, results.until->level);
      AreaVerdict& line = verdicts.emplace_back(AreaVerdict{model, format, activations, kv, device, area, answer.verdict, static_cast<int>(answer.items),
                                                            static_cast<int>(differences.size()), available, 0, {}});
      if (!differences.empty()) line.difference = std::accumulate(differences.begin(), differences.end(), 0.0) / static_cast<double>(differences.size());
      line.interval = statistics::sequential_interval(differences, results.until->level);
    }
  }
  const auto rank = [&](const AreaVerdict& v) { return std::find(results.formats.begin(), results.formats.end(), v.format) - results.formats.begin(); };
  std::stable_sort(verdicts.begin(), verdicts.end(), [&](const AreaVerdict& a, const AreaVerdict& b) {
    return std::tuple(a.model, rank(a), a.activations, a.kv, a.device) < std::tuple(b.model, rank(b), b.activations, b.kv, b.device);
  });
  return verdicts;
}

Verdict joined_verdict(std::vector<AreaVerdict> verdicts) {
  std::erase_if(verdicts, [](const AreaVerdict& v) { return is_twin(v.area); });
  const auto is = [](Verdict verdict) { return [verdict](const AreaVerdict& v) { return v.verdict == verdict; }; };
  if (std::any_of(verdicts.begin(), verdicts.end(), is(Verdict::kWorse))) return Verdict::kWorse;
  return !verdicts.empty() && std::all_of(verdicts.begin(), verdicts.end(), is(Verdict::kSame)) ? Verdict::kSame : Verdict::kUnknown;
}

}  // namespace quantfleet::reports
