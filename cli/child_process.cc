#include "cli/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

namespace quantfleet::cli {

Result<ChildProcess> ChildProcess::start(std::string name, const std::vector<std::string>& arguments, const std::filesystem::path& log) {
  const int log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log_fd < 0) return Error{Code::kPermission, fmt::format("{}: cannot write: {}", log.string(), std::strerror(errno))};
  std::vector<char*> argv = {const_cast<char*>("quantfleet")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {  // only async-signal-safe calls from here to exec
    ::setpgid(0, 0);  // Ctrl-C is for the demo, which then stops its children in order
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, STDIN_FILENO);
    ::dup2(log_fd, STDOUT_FILENO);
    ::dup2(log_fd, STDERR_FILENO);
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGTERM, SIG_DFL);
    ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
  }
  const int why = errno;
  ::close(log_fd);
  if (pid < 0) return Error{Code::kIo, fmt::format("cannot start {}: {}", name, std::strerror(why))};
  return ChildProcess(std::move(name), log, pid);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : name_(std::move(other.name_)), log_(std::move(other.log_)), pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

ChildProcess::~ChildProcess() { stop(std::chrono::seconds(2)); }

bool ChildProcess::running() {
  if (pid_ < 0 || status_) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  status_ = status;
  return false;
}

Error ChildProcess::ended() const {
  std::string how = "ended";
  int code = 1;
  if (status_ && WIFEXITED(*status_)) {
    code = WEXITSTATUS(*status_);
    how = fmt::format("ended (exit code {})", code);
  }
  if (status_ && WIFSIGNALED(*status_)) how = fmt::format("was killed by signal {}", WTERMSIG(*status_));
  std::ifstream file(log_);
  std::string last;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) last = line;
  return Error{code == 4 ? Code::kIo : Code::kCrashed, fmt::format("{} {}: {} (log: {})", name_, how, last, log_.string())};
}

void ChildProcess::signal(int number) const {
  if (pid_ > 0 && !status_) ::kill(pid_, number);
}

void ChildProcess::stop(std::chrono::milliseconds patience) {
  if (!running()) return;
  signal(SIGTERM);
  const auto end = std::chrono::steady_clock::now() + patience;
  while (running() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (!running()) return;
  signal(SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  status_ = status;
}

}  // namespace quantfleet::cli
