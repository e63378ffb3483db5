// Multiple choice by log-likelihood.
//   accuracy       argmax_i ll_i = gold;   accuracy_norm   argmax_i ll_i / characters(choice_i) = gold
// Characters are Unicode code points of the choice without the delimiter; the first wins ties. Output: the chosen index.
// Source: EleutherAI lm-evaluation-harness, api/task.py (acc, acc_norm).
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_multiple_choice(const ScorerSpec& spec, const Task& task);

}  // namespace quantfleet
