// Sums over the scored tokens of a text; perplexity = exp(Σ nll / Σ tokens) is formed where rows are put together.
//   nll, nll_squared, tokens;  with reference logits: kl_divergence_sum, its lower bound and its variance as an estimate,
//   top1_agreement_sum, delta_p_sum, delta_p_squared_sum, reference_nll, and the series kl_divergence (a value per scored token, nats)
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_perplexity(const ScorerSpec& spec, const Task& task);

}  // namespace quantfleet
