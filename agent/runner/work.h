// The work of one lease, inside the runner process: one function per kind. They open models and suites, measure, and report
// through Report as they go; what they return ends the lease. Errors are of the whole unit; a failed item is a row.
#pragma once

#include "agent/runner/runner_task.h"
#include "contract/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace quantfleet::agent {

// Writes lines to the agent. A broken pipe means that the agent is gone: the process ends.
class Report {
 public:
  explicit Report(int fd) : fd_(fd) {}
  void say(const RunnerLine& line);

 private:
  int fd_;
};

Result<UnitFinished> carry_out(const RunnerTask& task, const QuantizeWork& work, Report& report);
Result<UnitFinished> carry_out(const RunnerTask& task, const ReferenceLogitsWork& work, Report& report);
Result<UnitFinished> carry_out(const RunnerTask& task, const AccuracyWork& work, Report& report);
Result<UnitFinished> carry_out(const RunnerTask& task, const TimingWork& work, Report& report);

// Names of the timing repetitions as items: "repetition-0".
ItemId repetition_id(int index);

// Highest resident memory of this process since it started this program (VmHWM of /proc/self/status); 0 when unknown.
std::uint64_t peak_memory_bytes();

}  // namespace quantfleet::agent
