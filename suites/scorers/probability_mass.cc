#include "suites/scorers/probability_mass.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quantfleet {
namespace {

class ProbabilityMass : public Scorer {
 public:
  explicit ProbabilityMass(std::string labels) : labels_(std::move(labels)) {}

  void score(const ScoredItem& item, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = loglikelihoods_of(item, response, row);
    if (!answer) return;
    const nlohmann::json& labels = item.item.fields[labels_];
    std::size_t best = 0;
    for (std::size_t i = 1; i < labels.size(); ++i)
      if (answer->continuations[i].loglikelihood > answer->continuations[best].loglikelihood) best = i;
    double all = 0, right = 0;  // relative to the most likely one: nothing underflows to 0 / 0
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const double mass = std::exp(answer->continuations[i].loglikelihood - answer->continuations[best].loglikelihood);
      all += mass;
      if (labels[i] == 1) right += mass;
    }
    row.scores["accuracy"] = right / all;
    row.output = std::to_string(best);
  }

  void tally(const ScoredItem& item, ChanceTally& tally) const override {
    const nlohmann::json& labels = item.item.fields[labels_];
    tally.guess(static_cast<double>(std::count(labels.begin(), labels.end(), 1)) / static_cast<double>(labels.size()));
  }

  std::vector<std::string> numbers() const override { return {"accuracy"}; }

  Status check(const ScoredItem& item) const override {
    const auto field = item.item.fields.find(labels_);
    const bool fits = field != item.item.fields.end() && field->is_array() && field->size() == item.asked.choices.size() &&
                      std::all_of(field->begin(), field->end(), [](const nlohmann::json& label) { return label == 0 || label == 1; }) &&
                      std::count(field->begin(), field->end(), 1) > 0;
    if (fits) return {};
    return Error{Code::kBadValue, fmt::format("item '{}' (line {}): '{}' must hold a 0 or 1 for each of the {} choices, at least one 1", item.item.id, item.item.line,
                                              labels_, item.asked.choices.size())};
  }

 private:
  std::string labels_;
};

}  // namespace

Result<std::unique_ptr<Scorer>> make_probability_mass(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "probability_mass.");
  std::string labels = options.text("labels");
  if (const Status status = options.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<ProbabilityMass>(std::move(labels)));
}

}  // namespace quantfleet
