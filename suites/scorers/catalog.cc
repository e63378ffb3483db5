// The list of scorers.
#include "suites/scorers/code_tests.h"
#include "suites/scorers/code_values.h"
#include "suites/scorers/exact_match.h"
#include "suites/scorers/multiple_choice.h"
#include "suites/scorers/perplexity.h"
#include "suites/scorers/refusal.h"
#include "suites/scorers/scorer.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet {

std::span<const ScorerType> all_scorers() {
  static const std::vector<ScorerType> kScorers = {
      {"multiple_choice", {TaskKind::kLoglikelihood}, make_multiple_choice},
      {"exact_match", {TaskKind::kGenerate}, make_exact_match},
      {"refusal", {TaskKind::kGenerate}, make_refusal},
      {"code_tests", {TaskKind::kCode}, make_code_tests},
      {"code_values", {TaskKind::kCode}, make_code_values},
      {"perplexity", {TaskKind::kRolling}, make_perplexity},
  };
  return kScorers;
}

const ScorerType* find_scorer(std::string_view name) {
  for (const ScorerType& scorer : all_scorers())
    if (scorer.name == name) return &scorer;
  return nullptr;
}

Result<std::vector<std::unique_ptr<Scorer>>> make_scorers(const Task& task) {
  std::vector<std::unique_ptr<Scorer>> scorers;
  for (const ScorerSpec& spec : task.scorers) {
    const auto bad = [&](std::string what) { return Error{Code::kBadValue, fmt::format("{}:{}: {}", task.place, spec.line, what)}; };
    const ScorerType* type = find_scorer(spec.name);
    if (!type) {
      std::vector<std::string_view> names;
      for (const ScorerType& known : all_scorers()) names.push_back(known.name);
      return bad(fmt::format("no scorer '{}', allowed are {}", spec.name, fmt::join(names, ", ")));
    }
    if (std::find(type->kinds.begin(), type->kinds.end(), task.kind) == type->kinds.end())
      return bad(fmt::format("scorer '{}' does not mark kind {}", spec.name, name_of(task.kind)));
    if (!scorers.empty()) return bad("a second scorer; every kind has one that gives 'accuracy'");
    auto scorer = type->make(spec, task);
    if (!scorer) return scorer.error();
    scorers.push_back(std::move(*scorer));
  }
  return scorers;
}

Error wrong_answer_kind(std::string_view expected) {
  return {Code::kBadValue, fmt::format("the response holds no {} answer", expected)};
}

}  // namespace quantfleet
