// What the code scorer needs from whoever can isolate a program: implemented by agent/sandbox.
#pragma once

#include "contract/error.h"

#include <string>

namespace quantfleet {

struct CodeRun {
  int exit_code = 0;         // of the program; 128 + signal when killed
  bool timed_out = false;
  std::string ended_by;      // the limit that the runner killed it for: "wall time", "output", "memory", "CPU time"; else empty
  bool output_truncated = false;
  std::string stdout_text, stderr_text;
  double seconds = 0;
};

class CodeRunner {
 public:
  virtual ~CodeRunner() = default;
  // Runs a Python 3 program with no network, a read-only system and limits on time, memory, processes and output.
  // An Error means the sandbox itself failed (kSandboxUnavailable), never that the program did.
  virtual Result<CodeRun> run_python(const std::string& program, const std::string& stdin_text) const = 0;
};

}  // namespace quantfleet
