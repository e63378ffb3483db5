// Plan -> units: a small graph. Pure.
//
//   per model and format other than "as-is":          one quantize unit (also for the baseline: its artifact is the model)
//   per model, rolling suite and item range:          one reference-logits unit on the baseline
//   per model, format, activations, kv, suite, range:     one accuracy unit, needs its quantize unit (and reference logits)
//   per machine, model, format, activations:          spot-check units over K seeded items, where there are several machines
//   per machine, model, format, activations:          one timing unit, last
//
// `accuracy: every_device` repeats the accuracy units for each machine; `once` leaves the spot checks out.
// A suite that travels with the run (SuiteSpec::info) may run on every agent; others on those that announced the same hash.
// A suite that no agent can run (no sandbox) becomes cancelled units with the reason, so the run still finishes.
// Rolling suites use the same ranges for reference logits and accuracy, so a divergence needs one artifact.
#pragma once

#include "contract/messages.h"
#include "coordinator/jobs/unit.h"

#include <vector>

namespace quantfleet::coordinator {

// What the fleet announced, as far as expansion needs it.
struct Fleet {
  std::vector<Register> agents;
};

// Errors: a suite nobody announced, a format nobody makes, no agent at all, more than 100000 units.
// Every model has its sha256 by now.
Result<std::vector<Unit>> expand(const JobId& job, const JobSpec& spec, const Fleet& fleet, Time now);

// What the plan's suites are, in its order, each followed by its fresh twins where the plan wants them. Every name must be known.
std::vector<SuiteInfo> suites_of(const JobSpec& spec, const Fleet& fleet);
// The suite's version that most agents have (ties: lowest hash); nullptr when nobody has it.
const SuiteInfo* choose_suite(const Fleet& fleet, std::string_view name);

// Does the agent make this format (in any case of letters), or all that begin as it does ("GPTQ-*")?  A recipe without a format is "budget".
bool makes_format(const Register& agent, const QuantizeWork& work);

// Why an agent cannot run generated code, as its suites that need it say; empty where it can, or has no such suite.
std::string why_no_code(const Register& agent);

}  // namespace quantfleet::coordinator
