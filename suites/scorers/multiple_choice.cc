#include "suites/scorers/multiple_choice.h"

#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

class MultipleChoice : public Scorer {
 public:
  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = loglikelihoods_of(item, response, row);
    if (!answer) return;
    const auto& choices = item.asked.choices;
    std::size_t best = 0, best_norm = 0;
    std::vector<double> norm;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      const double loglikelihood = answer->continuations[i].loglikelihood;
      norm.push_back(loglikelihood / static_cast<double>(std::max<std::size_t>(1, count_characters(choices[i]))));
      if (loglikelihood > answer->continuations[best].loglikelihood) best = i;
      if (norm[i] > norm[best_norm]) best_norm = i;
    }
    const auto right = [&](std::size_t chosen) {
      return std::find(item.asked.golds.begin(), item.asked.golds.end(), static_cast<int>(chosen)) != item.asked.golds.end();
    };
    row.scores["accuracy"] = right(best);
    row.scores["accuracy_norm"] = right(best_norm);
    row.output = std::to_string(best);
  }

  void tally(const ScoredItem& item, ChanceTally& tally) const override {
    tally.guess(static_cast<double>(item.asked.golds.size()) / static_cast<double>(item.asked.choices.size()));
    tally.constant(std::to_string(item.asked.gold) + "\n");  // no text ends so: the place
    tally.constant(item.asked.target);
  }

  std::vector<std::string> numbers() const override { return {"accuracy", "accuracy_norm"}; }
  Status check(const ScoredItem&) const override { return {}; }
};

}  // namespace

Result<std::unique_ptr<Scorer>> make_multiple_choice(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "multiple_choice.");
  if (const Status status = options.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<MultipleChoice>());
}

}  // namespace quantfleet
