// Static items against their fresh twins (contract/twins.h). Within a run each item is paired with its twin of the same class, and each
// format with the baseline on the same items; twins of different nights are different items, so nights are compared unpaired.
#pragma once

#include "reports/statistics/interval.h"
#include "reports/tables/run_results.h"

#include <optional>
#include <string>
#include <vector>

namespace quantfleet::reports {

struct TwinLine {
  std::string model, format, activations, kv, suite;       // suite: the original's name
  std::uint64_t seed = 0;
  statistics::Estimate original, fresh;                // accuracies
  statistics::Estimate difference;                     // fresh - original, paired by item
  std::optional<statistics::Estimate> original_loss, fresh_loss;  // format - baseline, each paired by item; absent for the baseline
};

struct TwinNights {
  std::string model, format, activations, kv, suite;
  std::uint64_t seed_before = 0, seed_after = 0;
  statistics::Estimate before, after;                  // accuracies on fresh items
  statistics::Estimate difference;                     // after - before, unpaired
};

std::vector<TwinLine> twin_lines(const RunResults& results);
std::vector<TwinNights> twin_nights(const RunResults& before, const RunResults& after);

}  // namespace quantfleet::reports
