// Carries out one lease, on the agent's side of the process border: fetches what it needs, starts a runner, streams its rows,
// and survives its death. Blocking; on the thread that carries out leases.
//
// When a runner dies (signal, out of memory, exit) or an item takes too long, the items under way are known: a single one
// becomes a row with the error and its evidence; several are asked again one at a time, in a new runner, until the one that
// kills is alone. All others are still measured. A runner that dies before any item, or five times without a row between,
// fails the unit.
#pragma once

#include "agent/artifacts/artifact_source.h"
#include "agent/runner/runner_process.h"
#include "agent/runner/runner_task.h"
#include "agent/telemetry/telemetry.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace quantfleet::agent {

struct LeaseRunnerOptions {
  std::vector<std::string> program = {"/proc/self/exe", kRunnerArgument};
  std::filesystem::path work_directory;     // outputs on their way; emptied of a lease's own files when it ends
  std::filesystem::path stderr_path;        // of runners; empty: the agent's
  std::filesystem::path suites_root;
  std::filesystem::path host_lock;          // HostLock prefix
  std::string kernels;
  int threads = 1;
  bool pin = false;
  std::map<std::string, ServerEngine> engines;  // by the names that were announced
  std::chrono::milliseconds start_timeout{600'000};     // without any sign of life, other than waiting for the host
  std::chrono::milliseconds repetition_timeout{3'600'000};
};

// Called on the thread that carries out the lease.
struct LeaseEvents {
  std::function<void(std::vector<ItemResult> rows)> rows;   // in batches
  std::function<void()> alive = [] {};
};

// `telemetry` may be nullptr. The result has its unit and epoch; when stopped its error is kCancelled.
UnitFinished carry_out_lease(const GrantLease& lease, const LeaseRunnerOptions& options, ArtifactSource& artifacts,
                             Telemetry* telemetry, const LeaseEvents& events, const StopFlag& stop);

}  // namespace quantfleet::agent
