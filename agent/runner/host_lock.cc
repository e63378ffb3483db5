#include "agent/runner/host_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace quantfleet::agent {
namespace {

Result<int> open_for_everybody(const std::filesystem::path& path) {
  // Not O_CREAT at first: in a sticky directory the kernel refuses that on another user's file (fs.protected_regular).
  int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) {
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0) ::fchmod(fd, 0666);  // whatever the umask says
  }
  if (fd < 0 && errno == EACCES) fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);  // enough for flock
  if (fd < 0)
    return Error{errno == EACCES ? Code::kPermission : Code::kIo,
                 fmt::format("{}: cannot open the host's lock file: {}", path.string(), std::strerror(errno))};
  return fd;
}

Status lock(int fd, int operation, const std::filesystem::path& path) {
  while (::flock(fd, operation) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return Error{Code::kTimeout, fmt::format("{}: held by another process", path.string())};
    return Error{Code::kIo, fmt::format("{}: cannot lock: {}", path.string(), std::strerror(errno))};
  }
  return {};
}

}  // namespace

std::filesystem::path HostLock::default_prefix() {
  return std::filesystem::is_directory("/run/lock") ? "/run/lock/quantfleet-host" : "/tmp/quantfleet-host";
}

Result<HostLock> HostLock::acquire(Mode mode, const std::filesystem::path& prefix) { return take(mode, prefix, true); }
Result<HostLock> HostLock::try_acquire(Mode mode, const std::filesystem::path& prefix) { return take(mode, prefix, false); }

Result<HostLock> HostLock::take(Mode mode, const std::filesystem::path& prefix, bool wait) {
  const std::filesystem::path gate_path = prefix.string() + ".gate", lock_path = prefix.string() + ".lock";
  const Result<int> gate_fd = open_for_everybody(gate_path);
  if (!gate_fd) return gate_fd.error();
  const HostLock gate(*gate_fd);
  const int no_wait = wait ? 0 : LOCK_NB;
  if (Status passed = lock(gate.fd_, LOCK_EX | no_wait, gate_path); !passed) return passed.error();
  const Result<int> fd = open_for_everybody(lock_path);
  if (!fd) return fd.error();
  HostLock held(*fd);
  if (Status locked = lock(held.fd_, (mode == Mode::kAlone ? LOCK_EX : LOCK_SH) | no_wait, lock_path); !locked)
    return locked.error();
  return held;
}

HostLock& HostLock::operator=(HostLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

HostLock::~HostLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace quantfleet::agent
