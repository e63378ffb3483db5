// One runner child process: started, listened to, waited for. The child is this program again with a hidden argument, the
// socketpair is its descriptor 3. It sees no other descriptor of the agent but stderr.
#pragma once

#include "contract/error.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::agent {

inline constexpr int kRunnerDescriptor = 3;
inline constexpr char kRunnerArgument[] = "runner";  // "quantfleet-agent runner"; not shown in --help

// How a child ended.
struct ChildEnd {
  int exit_code = 0;
  int signal = 0;                        // 0: it exited by itself
  std::uint64_t peak_memory_bytes = 0;   // wait4 ru_maxrss; at least the agent's own size, which Linux counts before exec
  std::string what() const;              // "killed by SIGBUS (...)", "exit code 1"
};

// Asks a running lease to stop, from another thread. Once set it stays set.
class StopFlag {
 public:
  StopFlag();
  ~StopFlag();
  StopFlag(const StopFlag&) = delete;
  StopFlag& operator=(const StopFlag&) = delete;
  void set();
  bool is_set() const { return set_.load(); }
  int fd() const { return fd_; }         // readable once set

 private:
  std::atomic<bool> set_ = false;
  int fd_;
};

class RunnerProcess {
 public:
  // program: an executable and its arguments. stderr_path: appended to; empty: the agent's own stderr.
  static Result<RunnerProcess> start(const std::vector<std::string>& program, const std::filesystem::path& stderr_path);

  Status send(std::string_view line);    // adds the newline
  enum class Heard { kLine, kEnd, kTimeout, kStopped };
  // Waits for the next line until `deadline` (nullopt: no limit) or `stop`. A line longer than 16 MiB ends the conversation.
  Heard hear(std::string& line, std::optional<std::chrono::steady_clock::time_point> deadline, const StopFlag& stop);
  // Kills the child if it still runs and waits for it. Call once.
  ChildEnd end(bool kill);

  RunnerProcess(RunnerProcess&& other) noexcept;
  RunnerProcess& operator=(RunnerProcess&&) = delete;
  ~RunnerProcess();                      // kills and waits where end() was not called

 private:
  RunnerProcess(int pid, int fd) : pid_(pid), fd_(fd) {}
  int pid_;
  int fd_;
  std::string buffer_;
  std::size_t scanned_ = 0;
};

}  // namespace quantfleet::agent
