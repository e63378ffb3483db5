// One line of progress on stderr for long work: a bar with rate and time left on a terminal, elsewhere a plain line now and
// then. stdout is never touched, so --json stays one document.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace quantfleet::cli {

// Use from one thread. The destructor ends the bar's line.
class Progress {
 public:
  // unit: what is counted, as in "tokens"; "bytes" is shown in MiB and GiB.
  Progress(std::string label, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Draws at most ten times a second on a terminal, and at 10 s, 20 s, 30 s ... elsewhere. total 0: unknown.
  void update(std::uint64_t done, std::uint64_t total);

 private:
  std::string describe(std::uint64_t done, std::uint64_t total, double elapsed_s) const;

  using Clock = std::chrono::steady_clock;
  std::string label_, unit_;
  bool on_terminal_;
  Clock::time_point begin_, last_;
  std::uint64_t last_done_ = 0, last_total_ = 0;
  bool drawn_ = false, finished_ = false;
};

}  // namespace quantfleet::cli
