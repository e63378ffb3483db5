#include "agent/runner/runner_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

extern char** environ;

namespace quantfleet::agent {
namespace {

constexpr std::size_t kLineBytesMax = 16u << 20;

}  // namespace

std::string ChildEnd::what() const {
  if (signal == 0) return fmt::format("the runner ended with exit code {}", exit_code);
  const char* name = ::sigabbrev_np(signal);
  std::string_view hint;
  if (signal == SIGBUS) hint = " (a mapped file became shorter than it was, or its disk failed)";
  if (signal == SIGKILL) hint = " (the kernel's out-of-memory killer, or a person)";
  if (signal == SIGILL) hint = " (an instruction that this CPU does not have)";
  return fmt::format("the runner was killed by SIG{}{}", name ? name : "?", hint);
}

StopFlag::StopFlag() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw std::runtime_error(fmt::format("eventfd: {}", std::strerror(errno)));
}
StopFlag::~StopFlag() { ::close(fd_); }
void StopFlag::set() {
  set_.store(true);
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(fd_, &one, sizeof one);
}

Result<RunnerProcess> RunnerProcess::start(const std::vector<std::string>& program, const std::filesystem::path& stderr_path) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return Error{Code::kIo, fmt::format("cannot start a runner: socketpair: {}", std::strerror(errno))};
  std::vector<char*> arguments;
  for (const std::string& argument : program) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!stderr_path.empty())
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, stderr_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, pair[1], kRunnerDescriptor);  // clears close-on-exec, also when equal
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  ::sigemptyset(&none);
  ::sigemptyset(&defaults);
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGCHLD}) ::sigaddset(&defaults, signal);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setpgroup(&attributes, 0);  // Ctrl-C in the terminal is for the agent, which then stops its runner
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, program.front().c_str(), &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  ::close(pair[1]);
  if (failed != 0) {
    ::close(pair[0]);
    return Error{Code::kIo, fmt::format("cannot start a runner: {}: {}", program.front(), std::strerror(failed))};
  }
  return RunnerProcess(pid, pair[0]);
}

RunnerProcess::RunnerProcess(RunnerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)), scanned_(other.scanned_) {}

RunnerProcess::~RunnerProcess() {
  if (pid_ > 0) end(true);
}

Status RunnerProcess::send(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error{Code::kCrashed, fmt::format("the runner does not listen: {}", std::strerror(errno))};
    sent += static_cast<std::size_t>(n);
  }
  return {};
}

RunnerProcess::Heard RunnerProcess::hear(std::string& line, std::optional<std::chrono::steady_clock::time_point> deadline,
                                         const StopFlag& stop) {
  using std::chrono::ceil, std::chrono::milliseconds, std::chrono::steady_clock;
  for (;;) {
    if (const std::size_t newline = buffer_.find('\n', scanned_); newline != std::string::npos) {
      line.assign(buffer_, 0, newline);
      buffer_.erase(0, newline + 1);
      scanned_ = 0;
      return Heard::kLine;
    }
    scanned_ = buffer_.size();
    if (buffer_.size() > kLineBytesMax) return Heard::kEnd;
    int wait_ms = -1;
    if (deadline) {
      const auto left = ceil<milliseconds>(*deadline - steady_clock::now()).count();
      if (left <= 0) return Heard::kTimeout;
      wait_ms = static_cast<int>(std::min<std::int64_t>(left, 1'000'000));
    }
    pollfd fds[2] = {{fd_, POLLIN, 0}, {stop.fd(), POLLIN, 0}};
    if (::poll(fds, 2, wait_ms) < 0 && errno != EINTR) return Heard::kEnd;
    if (stop.is_set()) return Heard::kStopped;
    if (fds[0].revents == 0) continue;
    char bytes[1 << 16];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return Heard::kEnd;
    buffer_.append(bytes, static_cast<std::size_t>(n));
  }
}

ChildEnd RunnerProcess::end(bool kill) {
  if (kill) ::kill(-pid_, SIGKILL);  // its group: code that it runs in a sandbox goes with it
  ::close(std::exchange(fd_, -1));
  int status = 0;
  rusage usage{};
  while (::wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  ChildEnd result;
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  result.peak_memory_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  return result;
}

}  // namespace quantfleet::agent
