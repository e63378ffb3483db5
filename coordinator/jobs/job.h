// A job (users say "run"): one submitted plan and its units. Its status is derived from them, never stored twice.
#pragma once

#include "contract/job_spec.h"
#include "coordinator/jobs/unit.h"

#include <map>
#include <string>
#include <vector>

namespace quantfleet::coordinator {

struct Job {
  JobId id;
  JobSpec spec;
  Time submitted_at{};
  bool cancelled = false;
  std::vector<SuiteInfo> suites;  // of the plan, in its order, as the fleet knew them when it was submitted
};

// "waiting" (nothing granted yet) | "running" | "done" | "failed" (a unit failed) | "cancelled"
std::string status_of(const std::map<std::string, int>& units_by_state, bool cancelled);

// `twins` without a seed gets the day's.
void settle_night(JobSpec& spec, Time now);

// "demo-20261123-1a2b3c": name, day, and six digits of a hash over plan, time and `salt`.
JobId make_job_id(const JobSpec& spec, Time now, std::uint64_t salt);
// Of the canonical text: equal questions have equal hashes.
std::string plan_sha256(const JobSpec& spec);
std::string sha256_hex(std::string_view bytes);

}  // namespace quantfleet::coordinator
