// Who gets what now. Pure: (queued units, agents, now) -> proposals; at most one per agent.
//
// Fit first (can this agent run it?), then order: quantize, reference logits, accuracy, timing; between runs the one with
// the fewest leases, then the older one. A timing unit is proposed only for a machine on which nothing else runs or is
// proposed; when it has waited longer than `timing_patience`, its machine is drained for it, so that a stream of accuracy
// units cannot starve it.
#pragma once

#include "coordinator/jobs/unit.h"

#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace quantfleet::coordinator {

struct AgentView {
  AgentId id;
  const Register* registration = nullptr;
  bool may_take = false;            // alive, not draining, holds no lease, not on hold
  const Unit* lease = nullptr;      // the unit it holds
};

struct QueuedUnit {
  const Unit* unit = nullptr;
  std::uint64_t model_bytes = 0;    // of the artifact it runs; 0: unknown
};

struct Proposal {
  AgentId agent;
  const Unit* unit = nullptr;
};

struct SchedulerOptions {
  std::chrono::milliseconds timing_patience{60'000};
};

// Empty when the agent can run the unit; else why not, in a sentence. (fit.cc)
std::string why_not(const Unit& unit, std::uint64_t model_bytes, const Register& agent);

// (order.cc)
int priority_of(const Unit& unit);  // lower goes first
std::vector<Proposal> propose(std::span<const QueuedUnit> queued, std::span<const AgentView> agents,
                              const std::map<JobId, Time>& submitted_at, Time now, const SchedulerOptions& options = {});

}  // namespace quantfleet::coordinator
