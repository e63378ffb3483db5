// Hands answers out once each, in any order, until the caller says stop.
#pragma once

#include "backends/engines/native.h"

namespace quantfleet {

class NativeEngine::Delivery {
 public:
  Delivery(std::size_t count, const std::function<bool(std::size_t, Result<Response>)>& done)
      : start(Clock::now()), done_(done), answered_(count, false) {}

  bool stopped() const { return stopped_; }
  void deliver(std::size_t index, Result<Response> response) {
    if (answered_[index]) return;
    answered_[index] = true;
    if (!done_(index, std::move(response))) stopped_ = true;
  }
  // Everything that has no answer yet was cancelled.
  void finish() {
    for (std::size_t index = 0; index < answered_.size(); ++index)
      if (!answered_[index]) {
        answered_[index] = true;
        done_(index, Error{Code::kCancelled, "stopped before this request was answered"});
      }
  }
  double elapsed_ms() const { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

  const Clock::time_point start;

 private:
  const std::function<bool(std::size_t, Result<Response>)>& done_;
  std::vector<bool> answered_;
  bool stopped_ = false;
};

}  // namespace quantfleet
