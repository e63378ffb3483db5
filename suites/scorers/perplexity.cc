#include "suites/scorers/perplexity.h"

#include <cmath>

namespace quantfleet {
namespace {

class Perplexity : public Scorer {
 public:
  void score(const ScoredItem&, const Response& response, const CodeRunner*, ItemResult& row) const override {
    const auto* answer = std::get_if<RollingLoglikelihoodAnswer>(&response.answer);
    if (!answer) {
      row.error = wrong_answer_kind("rolling log-likelihood");
      return;
    }
    if (answer->count_tokens <= 0) {
      row.error = Error{Code::kBadValue, "no token was scored: the text is shorter than one window"};
      return;
    }
    std::map<std::string, double> scores = {{"nll", answer->nll_sum}, {"nll_squared", answer->nll_squared_sum},
                                            {"tokens", static_cast<double>(answer->count_tokens)}};
    if (const auto& divergence = answer->divergence) {
      scores["kl_divergence_sum"] = divergence->kl_sum;
      scores["top1_agreement_sum"] = divergence->top1_agreement_sum;
      scores["reference_nll"] = divergence->reference_nll_sum;
    }
    for (const auto& [name, value] : scores) {
      if (std::isfinite(value)) continue;
      row.error = Error{Code::kNonFinite, "'" + name + "' is not finite"};
      return;
    }
    row.scores.merge(scores);
    if (answer->divergence) row.series["kl_divergence"] = answer->divergence->kl_per_token;
  }

  double chance(std::span<const ScoredItem>) const override { return 0; }
  Status check(const ScoredItem&) const override { return {}; }
};

}  // namespace

Result<std::unique_ptr<Scorer>> make_perplexity(const ScorerSpec& spec, const Task& task) {
  MapReader options(spec.options, task.place, "perplexity.");
  if (const Status status = options.finish(); !status) return status.error();
  return std::unique_ptr<Scorer>(std::make_unique<Perplexity>());
}

}  // namespace quantfleet
