// Generated text against the item's target: 1 when both are equal after the task's filter and normalisations.
//   response -> extract (first or last match's first non-empty group; `fallback` without a match) -> normalise
//   target   -> normalise
//   normalise: delete ignore_regexes, trim, collapse spaces, lower case (ASCII), delete ASCII punctuation, digits; numeric:
//   delete ',' and '$' and compare as decimal numbers where both are numbers
// Source: EleutherAI lm-evaluation-harness, filters/extraction.py and api/metrics.py (exact_match); trim is ours.
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_exact_match(const ScorerSpec& spec, const Task& task);

// "007.50" -> "7.5", "-0" -> "0"; anything that is no plain decimal number stays as it is.
std::string canonical_decimal(const std::string& text);

}  // namespace quantfleet
