// A run's summary for machines: the JSON of `quantfleet results --json` (docs/schemas/results.json) and the same as CSV.
// One object or line per (device, model, format, activations, KV cache, suite).
#pragma once

#include "reports/tables/summary.h"

#include <nlohmann/json.hpp>

#include <string>

namespace quantfleet::reports {

nlohmann::ordered_json results_json(const RunSummary& summary);  // an array of objects
std::string results_csv(const RunSummary& summary);              // RFC 4180, first line names the columns

// The whole summary, pooled statistics included: `results.json` beside a report.
nlohmann::ordered_json summary_json(const RunSummary& summary);

}  // namespace quantfleet::reports
