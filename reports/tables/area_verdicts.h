// Verdicts per (model, format, activations, KV cache, device, area) of a run that was to end with verdicts (plan key `until`): recomputed from its rows in the
// order in which the coordinator counted them, so that the report needs no word of the coordinator's.
#pragma once

#include "contract/verdict.h"
#include "reports/statistics/interval.h"
#include "reports/tables/run_results.h"

#include <string>
#include <vector>

namespace quantfleet::reports {

struct AreaVerdict {
  std::string model, format, activations, kv, device, area;  // device: empty where one measurement stands for all
  Verdict verdict = Verdict::kUnknown;                   // UNKNOWN: the suites' items did not suffice
  int items = 0;                                         // until the verdict; else all
  int answered = 0;                                      // pairs that are in, those that came after the verdict included
  int available = 0;                                     // items that the plan allowed
  double difference = 0;                                 // mean of candidate - baseline over `answered`
  statistics::Interval interval;                         // of it, valid at any time, coverage 1 - 2 level
};

// Empty where the plan has no `until`.
std::vector<AreaVerdict> area_verdicts(const RunResults& results);

// Of several areas (and devices) together, fresh twins left out: WORSE where one is; SAME where all are; else UNKNOWN.
Verdict joined_verdict(std::vector<AreaVerdict> verdicts);

}  // namespace quantfleet::reports
