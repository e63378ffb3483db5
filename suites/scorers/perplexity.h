// Sums over the scored tokens of a text; perplexity = exp(Σ nll / Σ tokens) is formed where rows are put together.
//   nll, nll_squared, tokens;  with reference logits: kl_divergence_sum, top1_agreement_sum, reference_nll, and the series
//   kl_divergence (one value per scored token, nats)
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_perplexity(const ScorerSpec& spec, const Task& task);

}  // namespace quantfleet
