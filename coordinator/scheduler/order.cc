#include "coordinator/scheduler/scheduler.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace quantfleet::coordinator {

int priority_of(const Unit& unit) {
  if (unit.purpose == kSpotCheck) return 3;
  return static_cast<int>(unit.work.index()) + (is_timing(unit) ? 1 : 0);  // quantize 0, reference 1, accuracy 2, timing 4
}

std::vector<Proposal> propose(std::span<const QueuedUnit> queued, std::span<const AgentView> agents,
                              const std::map<JobId, Time>& submitted_at, Time now, const SchedulerOptions& options) {
  struct Host {
    int busy = 0;             // leases and proposals
    bool alone = false;       // one of them is a timing unit
    bool draining = false;    // a timing unit has waited too long for it
  };
  std::map<std::string, Host> hosts;
  std::map<JobId, int> leases;  // per run: fairness
  std::vector<const AgentView*> idle;
  for (const AgentView& agent : agents) {
    Host& host = hosts[agent.registration->device.host_id];
    if (agent.lease) {
      ++host.busy;
      host.alone |= is_timing(*agent.lease);
      ++leases[agent.lease->job];
    } else if (agent.may_take) {
      idle.push_back(&agent);
    }
  }
  for (const QueuedUnit& entry : queued) {
    if (!is_timing(*entry.unit) || now - entry.unit->queued_since < options.timing_patience) continue;
    for (const AgentView& agent : agents) {
      if (agent.registration->device.host_id == entry.unit->host_id) hosts[entry.unit->host_id].draining = true;
    }
  }

  std::vector<Proposal> proposals;
  std::set<const Unit*> taken;
  while (!idle.empty()) {
    const QueuedUnit* best = nullptr;
    std::size_t best_agent = 0;
    const auto rank = [&](const QueuedUnit& entry) {
      const auto submitted = submitted_at.find(entry.unit->job);
      return std::tuple(leases[entry.unit->job], submitted == submitted_at.end() ? Time{} : submitted->second,
                        entry.unit->job, priority_of(*entry.unit), entry.unit->ordinal);
    };
    for (const QueuedUnit& entry : queued) {
      if (taken.contains(entry.unit)) continue;
      if (best && rank(*best) <= rank(entry)) continue;
      for (std::size_t a = 0; a < idle.size(); ++a) {
        const Register& registration = *idle[a]->registration;
        const Host& host = hosts[registration.device.host_id];
        if (host.alone || (is_timing(*entry.unit) ? host.busy > 0 : host.draining)) continue;
        if (!why_not(*entry.unit, entry.model_bytes, registration).empty()) continue;
        best = &entry;
        best_agent = a;
        break;
      }
    }
    if (!best) break;
    Host& host = hosts[idle[best_agent]->registration->device.host_id];
    ++host.busy;
    host.alone |= is_timing(*best->unit);
    ++leases[best->unit->job];
    taken.insert(best->unit);
    proposals.push_back({idle[best_agent]->id, best->unit});
    idle.erase(idle.begin() + static_cast<std::ptrdiff_t>(best_agent));
  }
  return proposals;
}

}  // namespace quantfleet::coordinator
