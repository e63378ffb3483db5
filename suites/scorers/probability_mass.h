// Several answers are true: the share of probability on the true ones, among all given ones.
//   accuracy = sum over true choices of exp(ll_i) / sum over all of exp(ll_i)          0 to 1; no length normalisation
// Option `labels` (required): the item's field with a list of 0 and 1, one for each choice.
// Source: TruthfulQA's MC2 (Lin et al. 2022); EleutherAI lm-evaluation-harness, truthfulqa_mc2.
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_probability_mass(const ScorerSpec& spec, const Task& task);

}  // namespace quantfleet
