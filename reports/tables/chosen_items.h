// Suites of which a run measured only the items that tell most (plan key most_telling): estimates for the whole suite, each item weighted by
// the inverse of the probability with which it was chosen. Unweighted means of such items would say nothing about the suite.
#pragma once

#include "reports/statistics/interval.h"
#include "reports/tables/run_results.h"

#include <optional>
#include <string>
#include <vector>

namespace quantfleet::reports {

struct ChosenLine {
  std::string model, format, activations, kv, suite;
  int items = 0, of = 0;                             // answered, and what the suite has
  statistics::Estimate accuracy;                     // of the whole suite
  statistics::Interval accuracy_interval;            // 95 %
  std::optional<statistics::Estimate> difference;    // format - baseline, of the whole suite; absent for the baseline
  statistics::Interval difference_interval;          // 95 %
  int lost = 0, gained = 0;                          // flips among the chosen
};

bool is_chosen(const RunResults& results, const std::string& suite);
std::vector<ChosenLine> chosen_lines(const RunResults& results);

}  // namespace quantfleet::reports
