#include "suites/scorers/multiple_choice.h"

#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace quantfleet {
namespace {

class MultipleChoice : public Scorer {
 public:
  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = std::get_if<LoglikelihoodAnswer>(&response.answer);
    if (!answer) {
      row.error = wrong_answer_kind("log-likelihood");
      return;
    }
    const auto& choices = item.asked.choices;
    if (answer->continuations.size() != choices.size()) {
      row.error = Error{Code::kBadValue, fmt::format("{} log-likelihoods for {} choices", answer->continuations.size(), choices.size())};
      return;
    }
    std::size_t best = 0, best_norm = 0;
    std::vector<double> norm;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      const double loglikelihood = answer->continuations[i].loglikelihood;
      if (!std::isfinite(loglikelihood)) {
        row.error = Error{Code::kNonFinite, fmt::format("the log-likelihood of choice {} is not finite", i)};
        return;
      }
      norm.push_back(loglikelihood / static_cast<double>(std::max<std::size_t>(1, count_characters(choices[i]))));
      if (loglikelihood > answer->continuations[best].loglikelihood) best = i;
      if (norm[i] > norm[best_norm]) best_norm = i;
    }
    const auto gold = static_cast<std::size_t>(item.asked.gold);
    row.scores["accuracy"] = best == gold ? 1 : 0;
    row.scores["accuracy_norm"] = best_norm == gold ? 1 : 0;
    row.output = std::to_string(best);
  }

  double chance(std::span<const ScoredItem> items) const override {
    double guessing = 0;
    std::map<int, int> by_index;
    std::map<std::string_view, int> by_text;
    int most = 0;
    for (const ScoredItem& item : items) {
      guessing += 1.0 / static_cast<double>(item.asked.choices.size());
      most = std::max({most, ++by_index[item.asked.gold], ++by_text[item.asked.target]});
    }
    const auto count = static_cast<double>(items.size());
    return items.empty() ? 0 : std::max(guessing / count, most / count);
  }

  Status check(const ScoredItem&) const override { return {}; }
};

}  // namespace

Result<std::unique_ptr<Scorer>> make_multiple_choice(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "multiple_choice.");
  if (const Status status = options.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<MultipleChoice>());
}

}  // namespace quantfleet
