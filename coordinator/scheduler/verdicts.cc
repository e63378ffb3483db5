#include "coordinator/scheduler/verdicts.h"

#include "contract/twins.h"

#include <fmt/format.h>

namespace quantfleet::coordinator {

bool is_decided(const UnitState& state) {
  const auto* cancelled = std::get_if<Cancelled>(&state);
  return cancelled && cancelled->reason.starts_with(kDecided);
}

Verdicts::Verdicts(const Job& job, const StoppingRule& rule) : job_(job.spec), rule_(&rule) {
  for (std::size_t i = 0; i < job.suites.size(); ++i) {
    const SuiteInfo& suite = job.suites[i];
    suites_[suite.name] = {static_cast<int>(i), is_twin(suite.name) ? suite.name : suite.area};  // fresh twins are decided by themselves
  }
}

bool Verdicts::key_of(const Unit& unit, Key& key) const {
  const auto* work = std::get_if<AccuracyWork>(&unit.work);
  if (!work || unit.purpose != kMeasure) return false;
  const auto suite = suites_.find(work->suite);
  if (suite == suites_.end()) return false;
  key = {unit.model, unit.activations, unit.host_id, suite->second.second};
  return true;
}

void Verdicts::add(const Unit& unit) {
  Key key;
  if (!key_of(unit, key)) return;
  const auto& work = std::get<AccuracyWork>(unit.work);
  groups_[key][{unit.format, unit.kv}].units.emplace(Place{work.item_begin, suites_.at(work.suite).first}, unit.id);
  units_.push_back(unit.id);
  if (!is_final(unit.state)) open_.insert(unit.id);
}

void Verdicts::count(Candidate& candidate, const Candidate& baseline, const std::map<UnitId, Unit>& units,
                     const std::map<UnitId, ItemScores>& scores) {
  if (!candidate.question) candidate.question = rule_->ask(job_.until->margin, job_.until->level);
  static const ItemScores kNone;
  const auto scores_of = [&](const UnitId& id) -> const ItemScores& {
    const auto found = scores.find(id);
    return found == scores.end() || !is<Done>(units.at(id).state) ? kNone : found->second;
  };
  for (auto own = candidate.units.upper_bound(candidate.counted); own != candidate.units.end(); ++own) {
    const auto other = baseline.units.find(own->first);
    if (other == baseline.units.end()) continue;
    if (!is_final(units.at(own->second).state) || !is_final(units.at(other->second).state)) return;
    candidate.counted = own->first;
    const ItemScores& reference = scores_of(other->second);
    for (const auto& [item, score] : scores_of(own->second)) {
      const auto pair = reference.find(item);
      if (pair == reference.end()) continue;
      ++candidate.items;
      candidate.verdict = candidate.question->add(score - pair->second);
      if (candidate.verdict != Verdict::kUnknown) return;
    }
  }
}

std::vector<std::pair<UnitId, std::string>> Verdicts::on_final(const Unit& unit, const std::map<UnitId, Unit>& units,
                                                               const std::map<UnitId, ItemScores>& scores) {
  std::vector<std::pair<UnitId, std::string>> needless;
  Key key;
  if (!key_of(unit, key)) return needless;
  open_.erase(unit.id);
  if (is_decided(unit.state)) return needless;
  Group& group = groups_[key];
  const Variant of_baseline{job_.baseline, job_.kv.front()}, of_unit{unit.format, unit.kv};
  const Candidate& baseline = group[of_baseline];
  const auto stop = [&](const Candidate& variant, const std::string& reason) {
    for (const auto& [place, id] : variant.units)
      if (const UnitState& state = units.at(id).state; is<Blocked>(state) || is<Queued>(state)) needless.emplace_back(id, kDecided + reason);
  };

  bool all_decided = group.size() > 1;
  for (auto& [variant, candidate] : group) {
    if (variant == of_baseline) continue;
    if (candidate.verdict == Verdict::kUnknown && (of_unit == variant || of_unit == of_baseline)) {
      count(candidate, baseline, units, scores);
      if (candidate.verdict != Verdict::kUnknown)
        stop(candidate, fmt::format("{} after {} items of {}", name_of(candidate.verdict), candidate.items, std::get<3>(key)));
    }
    all_decided = all_decided && candidate.verdict != Verdict::kUnknown;
  }
  if (all_decided) stop(baseline, fmt::format("every format has its verdict on {}", std::get<3>(key)));
  return needless;
}

}  // namespace quantfleet::coordinator
