// The one continuation of an item (LAMBADA's last word): is it what the model would write, and how likely is it.
//   accuracy  1 when every token of it is the most likely one      nll  its negative log-likelihood, nats
// Over a suite: perplexity = exp(mean nll), a word counting as one whatever its tokens.
// Source: EleutherAI lm-evaluation-harness, output_type loglikelihood with acc and perplexity.
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_last_word(const ScorerSpec& spec, const Task& task);

}  // namespace quantfleet
