// The self-test at an agent's start: the reference model in a runner process, so that a machine whose kernels crash or
// compute something else is known before it measures anything.
#pragma once

#include "agent/runner/runner_task.h"
#include "contract/error.h"

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace quantfleet::agent {

// "Q4_0/int8/prefill67" -> digest. Errors: what the runner died of; kTimeout after `limit`.
Result<SelftestResult> selftest_in_runner(const std::vector<std::string>& program, const SelftestTask& task,
                                          const std::filesystem::path& stderr_path, std::chrono::seconds limit);

struct SelftestVerdict {
  bool as_expected = false;
  std::string sentence;  // as many as expected, or the first that differs by name
};

// `expected`: selftest.json beside the model. Errors: kNotFound, kBadValue of that file.
Result<SelftestVerdict> selftest_verdict(const SelftestResult& result, const std::filesystem::path& expected);

}  // namespace quantfleet::agent
