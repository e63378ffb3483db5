// For runs that ask for a verdict: which scores count, and which accuracy units nobody needs any more. Pure.
//
// A question is (model, activations, machine, area) and a variant (format, KV cache): the variant against the run's baseline, in that
// area's suites. Its pairs come in the order of the suites' items: unit by unit, the suites in turn, and only up to the first unit that
// is still open on either side. What finished early beyond it does not count yet, because being early may depend on the answers.
#pragma once

#include "coordinator/jobs/job.h"
#include "coordinator/scheduler/stopping_rule.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace quantfleet::coordinator {

using ItemScores = std::map<int, double>;  // accuracy by the item's index; items with an error are absent

inline constexpr const char* kDecided = "decided: ";  // begins the reason of a unit that a verdict made needless
bool is_decided(const UnitState& state);

class Verdicts {
 public:
  Verdicts(const Job& job, const StoppingRule& rule);

  // Of the job; to be called with all units before any becomes final. Other kinds of units are passed over.
  void add(const Unit& unit);

  // To be called when `unit` has become final. Returns the units that need not be run any more, with the reason for each. Each pair
  // is looked at once, however many units there are.
  std::vector<std::pair<UnitId, std::string>> on_final(const Unit& unit, const std::map<UnitId, Unit>& units,
                                                       const std::map<UnitId, ItemScores>& scores);
  bool all_final() const { return open_.empty(); }
  const std::vector<UnitId>& units() const { return units_; }

 private:
  using Place = std::pair<int, int>;                       // first item, suite's place in the plan
  using Variant = std::pair<std::string, std::string>;     // format, KV cache
  struct Candidate {
    std::map<Place, UnitId> units;
    Place counted{-1, 0};                                  // up to there the pairs were given to the question
    std::unique_ptr<StoppingRule::Question> question;
    int items = 0;
    Verdict verdict = Verdict::kUnknown;
  };
  using Group = std::map<Variant, Candidate>;
  using Key = std::tuple<std::string, std::string, std::string, std::string>;

  bool key_of(const Unit& unit, Key& key) const;
  void count(Candidate& candidate, const Candidate& baseline, const std::map<UnitId, Unit>& units, const std::map<UnitId, ItemScores>& scores);

  JobSpec job_;
  const StoppingRule* rule_;
  std::map<std::string, std::pair<int, std::string>> suites_;  // place in the plan, area
  std::map<Key, Group> groups_;
  std::vector<UnitId> units_;
  std::set<UnitId> open_;
};

}  // namespace quantfleet::coordinator
