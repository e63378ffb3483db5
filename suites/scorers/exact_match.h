// Generated text against the item's target, or any of several targets: 1 when equal after the task's filter and normalisations.
//   response -> trim_answer -> extract (first or last match's group; `fallback` without a match) -> normalise
//   target   -> normalise
//   normalise: delete ignore_regexes, trim, collapse spaces, lower case, delete ASCII punctuation, digits; numeric: delete ',' and
//   '$' and compare as decimal numbers where both are numbers
//   accuracy          by the first filter        accuracy_NAME  by each further one (`also`: GSM8K's flexible one)
//   no_answer         1 when the first filter found nothing: that is not a wrong answer but none; no_answer_NAME likewise
// Source: EleutherAI lm-evaluation-harness, filters/extraction.py and api/metrics.py (exact_match); trim is ours.
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_exact_match(const ScorerSpec& spec, const Task& task);

// "007.50" -> "7.5", "-0" -> "0"; anything that is no plain decimal number stays as it is.
std::string canonical_decimal(const std::string& text);

}  // namespace quantfleet
