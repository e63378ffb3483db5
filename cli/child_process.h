// Programs of this repository as child processes of `quantfleet demo`: each with a log file, ended with their parent whatever
// ends that, asked to stop before they are made to.
#pragma once

#include "contract/error.h"

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet::cli {

class ChildProcess {
 public:
  // This very program with `arguments`; stdout and stderr go to `log`. Call from the main thread.
  static Result<ChildProcess> start(std::string name, const std::vector<std::string>& arguments, const std::filesystem::path& log);
  ~ChildProcess();                                   // stop(2 s)
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  const std::string& name() const { return name_; }
  int pid() const { return pid_; }
  bool running();
  // "agent-1 ended (exit code 4): LAST LINE OF ITS LOG"
  Error ended() const;
  void signal(int number) const;
  // SIGTERM, then up to `patience`, then SIGKILL. Harmless when it has ended.
  void stop(std::chrono::milliseconds patience);

 private:
  ChildProcess(std::string name, std::filesystem::path log, int pid) : name_(std::move(name)), log_(std::move(log)), pid_(pid) {}
  std::string name_;
  std::filesystem::path log_;
  int pid_;
  std::optional<int> status_;                        // of waitpid
};

}  // namespace quantfleet::cli
