// What a suite's rows say together, beyond the accuracy: each number a mean over items with its standard error s / sqrt(n), or a ratio
// of sums without one. Which numbers there can be follows from the scores that the rows have (contract/item_result.h; suites/scorers/),
// which of them there are from the task's `aggregation` (contract/aggregation.h).
//   mean, median    every score that is one by nature: accuracy_norm, accuracy_flexible, no_answer, truncated, refused, stereotype, ...
//   perplexity      exp(mean nll) over items with one word each (LAMBADA)
//   word_perplexity, byte_perplexity = exp(sum nll / sum of words or bytes); bits_per_byte = sum nll / (ln 2 sum bytes);
//   token_perplexity = exp(sum nll / sum tokens)
//   instruction_level_strict, _loose        followed / given
//   accuracy_ambiguous, accuracy_disambiguated, bias_ambiguous, bias_disambiguated   (BBQ)
//   pass@k          mean over items of 1 - C(n-c, k) / C(n, k), n samples of which c pass (Chen et al. 2021), k = 1, 2, 5, 8, 10, ... <= n
//   output_tokens_mean, _p50, _p95          length of generated answers
// Source of the formulas: EleutherAI lm-evaluation-harness, api/metrics.py and the tasks' own.
#pragma once

#include "contract/aggregation.h"
#include "contract/item_result.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::reports {

struct Aggregate {
  std::string name;
  double value = 0;
  std::optional<double> standard_error;
  int items = 0;
};

// Several samples of one item (rows "ID/sample-K") are no independent answers: every mean is over items, each with the mean of its
// samples, and so are the errors.
std::string_view item_of(std::string_view row_id);  // "ID" of "ID/sample-K"
std::vector<double> values_by_item(std::span<const ItemResult* const> rows, const std::string& score);  // rows with an error left out

// Rows with an error are left out. Those that the task names, in its order, but for the accuracy; then missing and cut answers and
// lengths, which say how far the others can be trusted. Where it names none: all, in the order above. A median is called NAME_median
// and has no error.
std::vector<Aggregate> aggregates_of(std::span<const ItemResult* const> rows, std::span<const Aggregation> wanted = {});

// The mean of "accuracy" by group; empty where no row has one.
std::map<std::string, Aggregate> accuracy_by_group(std::span<const ItemResult* const> rows);

// 1 - C(n - c, k) / C(n, k) as a product, 1 where n - c < k.
double pass_at_k(int samples, int correct, int k);

}  // namespace quantfleet::reports
