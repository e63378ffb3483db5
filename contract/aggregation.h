// How the marks of a suite's items become its numbers. A task names each number and the function that computes it (task.yaml's
// `aggregation`), in lm-evaluation-harness' words where it has one; reports/tables/aggregates.h computes them. A suite without any
// (an own task, a run of an earlier version) gets every number that its rows allow.
#pragma once

#include "contract/error.h"

#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct Aggregation {
  std::string number;    // "accuracy", "word_perplexity", "pass@10", or any score of the items
  std::string function;  // "mean", "median", "perplexity", "weighted_perplexity", "bits_per_byte", "ratio", "bias"

  bool operator==(const Aggregation&) const = default;
};

inline constexpr std::size_t kAggregationsMax = 32;

// The functions that fit a number. A name that has no formula of its own is a score of the items.
std::vector<std::string_view> functions_of(std::string_view number);

// The K of "pass@K" (1 to 1000); 0: another number.
int samples_of_pass_at(std::string_view number);

std::string encode(const std::vector<Aggregation>& aggregations);  // JSON
Result<std::vector<Aggregation>> decode_aggregations(std::string_view json);

}  // namespace quantfleet
