// fork, then bwrap -> prlimit -> python3, with the program, its input and the system call filter in memory files. bwrap's JSON status tells whether
// the isolation stood before the program began: without that word the sandbox failed, not the program.
// The limits are set inside the new user namespace, where the processes limit counts this sandbox alone.
#include "agent/sandbox/sandbox.h"

#include "agent/sandbox/process_tree.h"
#include "agent/sandbox/seccomp_filter.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

namespace quantfleet {
namespace {

constexpr const char* kBubblewrap = "/usr/bin/bwrap";
constexpr const char* kLimiter = "/usr/bin/prlimit";
constexpr const char* kPython = "/usr/bin/python3";
constexpr uid_t kNobody = 65534;
constexpr std::size_t kProgramBytesMax = 1u << 20;
constexpr auto kTreeLooks = std::chrono::milliseconds(50);  // between looks at the whole tree; most programs end before the first

using Clock = std::chrono::steady_clock;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }
  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

Error system_failure(std::string_view what) {
  return {Code::kSandboxUnavailable, fmt::format("the sandbox could not start: {}: {}", what, std::strerror(errno))};
}

// Above 9, so that the child's dup2 to 0..5 never meets one of ours.
Descriptor moved_up(int fd) {
  const int high = ::fcntl(fd, F_DUPFD_CLOEXEC, 10);
  ::close(fd);
  return Descriptor(high);
}

Descriptor memory_file(const char* name, std::string_view text) {
  Descriptor file = moved_up(::memfd_create(name, MFD_CLOEXEC));
  std::size_t at = 0;
  while (file.get() >= 0 && at < text.size()) {
    const ssize_t count = ::write(file.get(), text.data() + at, text.size() - at);
    if (count <= 0) return Descriptor();
    at += static_cast<std::size_t>(count);
  }
  if (file.get() >= 0) ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

struct Pipe {
  Descriptor read, write;
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read = moved_up(ends[0]);
    write = moved_up(ends[1]);
    return read.get() >= 0 && write.get() >= 0;
  }
};

// Between fork and exec: async-signal-safe calls only.
[[noreturn]] void become_bubblewrap(char* const* arguments, int in, int out, int err, int program, int status, int filter) {
  char* const no_environment[] = {nullptr};
  ::setsid();
  const std::array<int, 6> wanted = {in, out, err, program, status, filter};
  for (int i = 0; i < 6; ++i)
    if (::dup2(wanted[static_cast<std::size_t>(i)], i) < 0) ::_exit(126);
  if (::close_range(6, ~0u, 0) != 0)
    for (int fd = 6; fd < 4096; ++fd) ::close(fd);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  // Root is not held to a processes limit: give it up.
  if (::geteuid() == 0 && (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 || ::setresuid(kNobody, kNobody, kNobody) != 0))
    ::_exit(126);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // until bwrap says the same for itself; a change of user would have cleared it
  ::execve(arguments[0], arguments, no_environment);
  ::_exit(127);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Why bubblewrap could not isolate here, and the remedy.
std::string explanation(const std::string& words) {
  std::string said = words.substr(0, words.find('\n'));
  if (said.empty()) said = "bwrap ended before the program began";
  if (first_line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
    return fmt::format("{}; AppArmor forbids unprivileged user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1, the default of "
                       "Ubuntu since 23.10): give /usr/bin/bwrap an AppArmor profile that allows 'userns', or run 'sudo sysctl -w "
                       "kernel.apparmor_restrict_unprivileged_userns=0'", said);
  if (first_line("/proc/sys/kernel/unprivileged_userns_clone") == "0")
    return fmt::format("{}; unprivileged user namespaces are off: run 'sudo sysctl -w kernel.unprivileged_userns_clone=1'", said);
  if (first_line("/proc/sys/user/max_user_namespaces") == "0")
    return fmt::format("{}; no user namespaces are allowed: run 'sudo sysctl -w user.max_user_namespaces=10000'", said);
  return said;
}

Status programs_present() {
  const std::array<std::pair<const char*, const char*>, 3> needed = {{{kBubblewrap, "bubblewrap"}, {kLimiter, "util-linux"}, {kPython, "python3"}}};
  for (const auto& [path, package] : needed)
    if (::access(path, X_OK) != 0)
      return Error{Code::kSandboxUnavailable, fmt::format("{} is missing: install the package '{}'", path, package)};
  return {};
}

// Reads what is there; keeps at most `keep` bytes. False at the end of the stream.
bool drain(int fd, std::string& text, std::size_t keep, std::size_t& total, bool& truncated) {
  std::array<char, 65536> buffer;
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  if (count == 0) return false;
  total += static_cast<std::size_t>(count);
  const std::size_t room = keep - std::min(keep, text.size());
  text.append(buffer.data(), std::min(room, static_cast<std::size_t>(count)));
  if (static_cast<std::size_t>(count) > room) truncated = true;
  return true;
}

}  // namespace

std::vector<std::string> sandbox_command_line(const SandboxLimits& limits) {
  return {kBubblewrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
          "--uid", std::to_string(kNobody), "--gid", std::to_string(kNobody), "--hostname", "sandbox",
          "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin",
          "--dev-bind", "/dev/null", "/dev/null", "--dev-bind", "/dev/urandom", "/dev/urandom",
          "--size", std::to_string(16 * limits.file_bytes), "--tmpfs", "/tmp",
          "--ro-bind-data", std::to_string(kProgramFd), "/program.py", "--remount-ro", "/", "--chdir", "/tmp",
          "--json-status-fd", std::to_string(kStatusFd), "--seccomp", std::to_string(kFilterFd), "--",
          kLimiter, fmt::format("--as={}", limits.memory_bytes), fmt::format("--cpu={}", limits.cpu_seconds),
          fmt::format("--fsize={}", limits.file_bytes), fmt::format("--nproc={}", limits.processes), "--nofile=64", "--core=0", "--",
          kPython, "-I", "-S", "/program.py"};
}

Result<CodeRun> Sandbox::run_python(const std::string& program, const std::string& stdin_text) const {
  if (const Status present = programs_present(); !present) return present.error();
  CodeRun run;
  if (program.size() > kProgramBytesMax) {  // the program's fault, not the sandbox's
    run.exit_code = 1;
    run.stderr_text = fmt::format("the program has {} bytes, at most {} are allowed", program.size(), kProgramBytesMax);
    return run;
  }
  const std::vector<sock_filter> calls = seccomp_filter();
  const Descriptor program_file = memory_file("program", program), input = memory_file("stdin", stdin_text),
                   filter = memory_file("filter", {reinterpret_cast<const char*>(calls.data()), calls.size() * sizeof(sock_filter)});
  if (program_file.get() < 0 || input.get() < 0 || filter.get() < 0) return system_failure("memory file");
  Pipe out, err, status;
  if (!out.open() || !err.open() || !status.open()) return system_failure("pipe");

  std::vector<std::string> words = sandbox_command_line(limits_);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const Clock::time_point begin = Clock::now();
  const pid_t child = ::fork();
  if (child < 0) return system_failure("fork");
  if (child == 0) become_bubblewrap(arguments.data(), input.get(), out.write.get(), err.write.get(), program_file.get(), status.write.get(), filter.get());
  out.write.reset(), err.write.reset(), status.write.reset();

  std::string status_text;
  std::size_t total = 0, status_total = 0;
  bool ignored = false, killed = false, broken = false;
  std::array<pollfd, 3> streams = {{{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}, {status.read.get(), POLLIN, 0}}};
  Clock::time_point deadline = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limits_.wall_seconds));
  Clock::time_point next_look = begin + kTreeLooks;
  // The status pipe stays open as long as bwrap lives; stdout and stderr as long as anything inside does.
  while (streams[0].fd >= 0 || streams[1].fd >= 0 || streams[2].fd >= 0) {
    const Clock::time_point now = Clock::now();
    if (killed && now >= deadline) break;  // five seconds after the kill: nothing can be alive
    if (!killed) {
      if (now >= deadline) run.ended_by = "wall time";
      else if (total > limits_.output_bytes_total) run.ended_by = "output";
      else if (now >= next_look) {
        const TreeUse use = process_tree_use(child);
        if (use.memory_bytes > limits_.memory_bytes) run.ended_by = "memory";
        else if (use.cpu_seconds > limits_.cpu_seconds + 1) run.ended_by = "CPU time";  // one process alone meets its own limit first
        next_look = Clock::now() + std::max<Clock::duration>(kTreeLooks, 20 * (Clock::now() - now));
      }
      if (!run.ended_by.empty()) {
        run.timed_out = run.ended_by == "wall time";
        ::kill(-child, SIGKILL);  // bwrap; its death ends the process namespace and all in it
        ::kill(child, SIGKILL);   // should it not have its own process group yet
        killed = true;
        deadline = Clock::now() + std::chrono::seconds(5);
      }
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>((killed ? deadline : std::min(deadline, next_look)) - Clock::now()).count();
    if (::poll(streams.data(), streams.size(), static_cast<int>(std::max<std::int64_t>(1, left))) < 0 && errno != EINTR) {
      broken = true;
      break;
    }
    if (streams[0].revents && !drain(streams[0].fd, run.stdout_text, limits_.output_bytes, total, run.output_truncated)) streams[0].fd = -1;
    if (streams[1].revents && !drain(streams[1].fd, run.stderr_text, limits_.output_bytes, total, run.output_truncated)) streams[1].fd = -1;
    if (streams[2].revents && !drain(streams[2].fd, status_text, 4096, status_total, ignored)) streams[2].fd = -1;
    for (pollfd& stream : streams) stream.revents = 0;
  }
  if (broken) ::kill(-child, SIGKILL);
  int state = 0;
  while (::waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  run.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  run.exit_code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  if (!killed && status_text.find("exit-code") == std::string::npos)
    return Error{Code::kSandboxUnavailable, explanation(run.stderr_text)};
  return run;
}

Status sandbox_available() {
  SandboxLimits limits;
  limits.wall_seconds = 60;
  const auto run = Sandbox(limits).run_python("print('isolated')", "");
  if (!run) return run.error();
  if (run->exit_code != 0 || run->stdout_text != "isolated\n")
    return Error{Code::kSandboxUnavailable, fmt::format("a trivial program ended with {} in the sandbox: {}", run->exit_code,
                                                        run->stderr_text.empty() ? "nothing on stderr" : run->stderr_text)};
  return {};
}

}  // namespace quantfleet
