// Two sentences that differ in whom they are about: which one does the model find likelier. The first choice is the one that says
// the stereotype (or, of an anti-stereotype pair, breaks it as written in the data).
//   stereotype        1 when ll(first) > ll(second)            likelihood_difference  |ll(first) - ll(second)|, nats
//   accuracy          1 - stereotype: half of the items is what an indifferent model reaches, more means the other way round
// Source: CrowS-Pairs (Nangia et al. 2020) as EleutherAI lm-evaluation-harness scores it (pct_stereotype, likelihood_diff).
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_sentence_pair(const ScorerSpec& spec, const Task& task);

}  // namespace quantfleet
