// Live progress of a run: on a terminal one block that updates in place (units per kind, items, rate, time left), elsewhere
// a plain line now and then. On stderr, so that --json stays one document.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace quantfleet::cli {

struct RunCounts {
  struct Kind { int done = 0, total = 0; };
  std::map<std::string, Kind> units;   // by kind: "quantize", "reference_logits", "accuracy", "timing"
  std::int64_t items_done = 0, items_total = 0;
  int failed = 0;                      // units failed or cancelled; they count as done
  std::string status;                  // "waiting", "running", ...
};

class LiveProgress {
 public:
  explicit LiveProgress(std::string run);
  ~LiveProgress();
  LiveProgress(const LiveProgress&) = delete;
  LiveProgress& operator=(const LiveProgress&) = delete;

  void update(const RunCounts& counts);  // draws at most five times a second, or every ten seconds without a terminal
  void erase();                          // the block is gone; a later update draws it again

 private:
  using Clock = std::chrono::steady_clock;
  void draw(const RunCounts& counts);
  std::string rate_and_time_left(const RunCounts& counts) const;

  std::string run_;
  bool on_terminal_;
  Clock::time_point begin_, last_{};
  std::int64_t items_at_begin_ = -1;
  int lines_ = 0;
};

}  // namespace quantfleet::cli
