// Runs Python programs that a model wrote, isolated by bubblewrap:
//   no network, no other processes, no files but a read-only /usr and an empty /tmp, no environment, no capabilities,
//   user and group 65534, only the system calls of seccomp_filter.h, limits on memory, CPU time, wall time, file size, processes,
//   open files and output. Memory and CPU time are limited for each process by the kernel and for the whole tree by looks at it.
// The whole process tree is killed when a limit is met; nothing stays behind. No shell is involved. What a program could still
// fake, and what the isolation does not cover: docs/sandbox.md.
// Needs the program bwrap (package bubblewrap) and user namespaces.  Tests: tests/agent/sandbox_test.cc, hostile_programs_test.cc; speed: bench_sandbox
#pragma once

#include "contract/error.h"
#include "suites/scorers/code_runner.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace quantfleet {

struct SandboxLimits {
  int cpu_seconds = 5;                      // of a process, and of all together: ends an endless loop, on busy and idle machines alike
  double wall_seconds = 30;                 // what ends a sleeping program
  std::uint64_t memory_bytes = 512u << 20;  // address space of a process; resident memory of all together
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

// How bubblewrap, the limiter and Python are called. The program, bubblewrap's JSON status and the system call filter are read from and
// written to these descriptors.
inline constexpr int kProgramFd = 3, kStatusFd = 4, kFilterFd = 5;
std::vector<std::string> sandbox_command_line(const SandboxLimits& limits);

// Runs a trivial program once. The error (kSandboxUnavailable) says why generated code cannot be isolated on this machine
// and what to do about it.
Status sandbox_available();

}  // namespace quantfleet
