// Who may compute on this host right now: timing runs alone, everything else shares. Two flock(2) files in a place that all
// agents of the host see, so the kernel releases them when a process dies, however it dies.
//
// A turnstile: everybody passes the gate (exclusive) on the way to the lock and leaves it open behind. A timing unit waits for
// the lock while it stands in the gate, so newcomers queue up behind it and it is never starved by a stream of sharers.
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <functional>

namespace quantfleet::agent {

class HostLock {
 public:
  enum class Mode { kShared, kAlone };

  // Blocks until granted. Files: <prefix>.gate and <prefix>.lock; created for everybody (mode 0666) when missing.
  static Result<HostLock> acquire(Mode mode, const std::filesystem::path& prefix = default_prefix());
  // Does not block: kTimeout when somebody else holds it.
  static Result<HostLock> try_acquire(Mode mode, const std::filesystem::path& prefix = default_prefix());

  // /run/lock/quantfleet-host, or /tmp/quantfleet-host where the former does not exist: the same answer for every user.
  static std::filesystem::path default_prefix();

  HostLock(HostLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  HostLock& operator=(HostLock&& other) noexcept;
  ~HostLock();

 private:
  explicit HostLock(int fd) : fd_(fd) {}
  static Result<HostLock> take(Mode mode, const std::filesystem::path& prefix, bool wait);
  int fd_ = -1;
};

}  // namespace quantfleet::agent
