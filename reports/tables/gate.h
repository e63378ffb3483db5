// A gate for continuous integration: may the candidate run replace the baseline run? Good, bad or undecided per line
// (model, format, activations), by non-inferiority with the policy's margin.
#pragma once

#include "contract/error.h"
#include "reports/tables/summary.h"

#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::reports {

struct GatePolicy {
  double margin = statistics::kMargin;   // of pooled accuracy: 0.02 is two points
  std::vector<std::string> formats;      // only these; empty: all that were compared
};

// YAML: `margin_points: 2` and `formats: [Q4_K_M, ...]`; unknown keys and wrong types are refused.
Result<GatePolicy> gate_policy_from_yaml(std::string_view yaml, std::string_view place);

struct GateLine {
  std::string name;                      // "reference Q4_K_M int8"
  Verdict verdict = Verdict::kUnknown;
  std::string sentence;                  // "−0.4 points [−1.1, +0.3], 12 lost, 5 gained"
};

enum class GateOutcome { kPass, kFail, kUndecided };

struct GateResult {
  std::vector<GateLine> lines;
  GateOutcome outcome = GateOutcome::kUndecided;  // fail beats undecided beats pass; nothing compared is undecided
};

GateResult judge(const RunSummary& compared, const GatePolicy& policy);
std::string junit_xml(const GateResult& result, std::string_view suite_name);

}  // namespace quantfleet::reports
