// A run inside one process: the coordinator's core and store and one agent's session joined by function calls instead of
// sockets, runner child processes for the leases. The same path as over a fleet, with nothing to set up.
#pragma once

#include "agent/runner/runner_task.h"
#include "cli/live_progress.h"
#include "contract/error.h"
#include "contract/ids.h"
#include "contract/job_spec.h"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace quantfleet::cli {

struct LocalRunOptions {
  std::filesystem::path database = "results.db";
  std::filesystem::path artifacts;        // directory; empty: "artifacts" beside the database
  std::filesystem::path suites_root;
  std::string kernels;
  int threads = 0;                        // 0 = all cores
  std::map<std::string, agent::ServerEngine> engines;  // servers that the plan may ask for by name
};

struct LocalRunEnd {
  JobId run;
  int units = 0;
  std::vector<Error> failures;            // of the units that failed, in the order of expansion
  std::string status;                     // "done" | "failed" | "cancelled"; "running" when interrupted
  bool interrupted = false;
};

// The paths of the plan's models are taken as they are; a model, adapter or kernel family that cannot be used is an error before a run exists.
// Errors of units name the plan's files, not the artifacts that these became. An unfinished run of the same plan in the database is continued.
// `stop` is asked several times a second: true interrupts, and the run can be continued later.
Result<LocalRunEnd> run_locally(JobSpec spec, const LocalRunOptions& options,
                                const std::function<void(const JobId& run, const RunCounts& counts)>& progress,
                                const std::function<bool()>& stop);

}  // namespace quantfleet::cli
