// Runs Python programs that a model wrote, isolated by bubblewrap:
//   no network, no other processes, no files but a read-only /usr and an empty /tmp, no environment, no capabilities,
//   user and group 65534, limits on address space, CPU time, wall time, file size, processes, open files and output.
// The whole process group is killed when the time is up; nothing stays behind. No shell is involved.
// Limits of the isolation: the kernel is shared; the processes limit counts per user on kernels that do so (RLIMIT_NPROC).
// Needs the program bwrap (package bubblewrap) and user namespaces.  Tests: tests/agent/sandbox_test.cc
#pragma once

#include "contract/error.h"
#include "suites/scorers/code_runner.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace quantfleet {

struct SandboxLimits {
  int cpu_seconds = 5;                      // what ends an endless loop: nearly the same on a busy and an idle machine
  double wall_seconds = 30;                 // what ends a sleeping program
  std::uint64_t memory_bytes = 512u << 20;  // address space
  std::uint64_t file_bytes = 1u << 20;      // of one file, and of /tmp as a whole 16 times that
  int processes = 32;
  std::size_t output_bytes = 64u << 10;     // kept of stdout and of stderr each; the rest is drained and dropped
  std::size_t output_bytes_total = 64u << 20;  // beyond that the program is killed
};

class Sandbox : public CodeRunner {
 public:
  explicit Sandbox(SandboxLimits limits = {}) : limits_(limits) {}
  Result<CodeRun> run_python(const std::string& program, const std::string& stdin_text) const override;

 private:
  SandboxLimits limits_;
};

// Runs a trivial program once. The error (kSandboxUnavailable) says why generated code cannot be isolated on this machine
// and what to do about it.
Status sandbox_available();

}  // namespace quantfleet
