#include "suites/scorers/last_word.h"

#include <fmt/format.h>

namespace quantfleet {
namespace {

class LastWord : public Scorer {
 public:
  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = loglikelihoods_of(item, response, row);
    if (!answer) return;
    const ContinuationScore& word = answer->continuations.front();
    row.scores["accuracy"] = word.is_greedy;
    row.scores["nll"] = -word.loglikelihood;
    row.output = fmt::format("{}", word.loglikelihood);
  }

  void tally(const ScoredItem&, ChanceTally&) const override {}
  std::vector<std::string> numbers() const override { return {"accuracy", "perplexity"}; }
  Status check(const ScoredItem&) const override { return {}; }
};

}  // namespace

Result<std::unique_ptr<Scorer>> make_last_word(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "last_word.");
  if (!task.choices.empty() || !task.choices_field.empty()) options.fail(spec.line, "last_word marks a 'target' alone, without 'choices'");
  if (const Status status = options.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<LastWord>());
}

}  // namespace quantfleet
