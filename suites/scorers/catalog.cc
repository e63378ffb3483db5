// The list of scorers.
#include "suites/scorers/bias_questions.h"
#include "suites/scorers/code_tests.h"
#include "suites/scorers/code_values.h"
#include "suites/scorers/exact_match.h"
#include "suites/scorers/instructions.h"
#include "suites/scorers/last_word.h"
#include "suites/scorers/math_answer.h"
#include "suites/scorers/multiple_choice.h"
#include "suites/scorers/perplexity.h"
#include "suites/scorers/probability_mass.h"
#include "suites/scorers/refusal.h"
#include "suites/scorers/sentence_pair.h"
#include "suites/scorers/scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quantfleet {

std::span<const ScorerType> all_scorers() {
  static const std::vector<ScorerType> kScorers = {
      {"multiple_choice", {TaskKind::kLoglikelihood}, make_multiple_choice},
      {"probability_mass", {TaskKind::kLoglikelihood}, make_probability_mass},
      {"last_word", {TaskKind::kLoglikelihood}, make_last_word},
      {"sentence_pair", {TaskKind::kLoglikelihood}, make_sentence_pair},
      {"bias_questions", {TaskKind::kLoglikelihood}, make_bias_questions},
      {"exact_match", {TaskKind::kGenerate}, make_exact_match},
      {"math_answer", {TaskKind::kGenerate}, make_math_answer},
      {"instructions", {TaskKind::kGenerate}, make_instructions},
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

const LoglikelihoodAnswer* loglikelihoods_of(const ScoredItem& item, const Response& response, ItemResult& row) {
  const auto* answer = std::get_if<LoglikelihoodAnswer>(&response.answer);
  if (!answer) {
    row.error = wrong_answer_kind("log-likelihood");
    return nullptr;
  }
  const std::size_t choices = item.asked.choices.size();
  if (answer->continuations.size() != choices) {
    row.error = Error{Code::kBadValue, fmt::format("{} log-likelihoods for {} choices", answer->continuations.size(), choices)};
    return nullptr;
  }
  for (std::size_t i = 0; i < choices; ++i)
    if (!std::isfinite(answer->continuations[i].loglikelihood)) {
      row.error = Error{Code::kNonFinite, fmt::format("the log-likelihood of choice {} is not finite", i)};
      return nullptr;
    }
  return answer;
}

const GenerateAnswer* text_of(const Response& response, ItemResult& row) {
  const auto* answer = std::get_if<GenerateAnswer>(&response.answer);
  if (!answer) row.error = wrong_answer_kind("generated-text");
  else row.output = answer->text;
  return answer;
}

Error wrong_answer_kind(std::string_view expected) {
  return {Code::kBadValue, fmt::format("the response holds no {} answer", expected)};
}

}  // namespace quantfleet
