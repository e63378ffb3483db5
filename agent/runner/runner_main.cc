#include "agent/runner/runner_main.h"

#include "agent/runner/host_lock.h"
#include "agent/runner/runner_process.h"
#include "agent/runner/work.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <new>
#include <string>
#include <thread>

namespace quantfleet::agent {
namespace {

// The task, or an empty line when the agent went away first.
std::string read_line(int fd) {
  std::string line;
  char bytes[4096];
  for (;;) {
    const ssize_t n = ::read(fd, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return {};
    line.append(bytes, static_cast<std::size_t>(n));
    if (line.back() == '\n') {
      line.pop_back();
      return line;
    }
  }
}

Result<UnitFinished> carry_out_alone_or_shared(const RunnerTask& task, Report& report) {
  const bool alone = std::holds_alternative<TimingWork>(task.lease.work);
  const HostLock::Mode mode = alone ? HostLock::Mode::kAlone : HostLock::Mode::kShared;
  Result<HostLock> lock = HostLock::try_acquire(mode, task.host_lock);
  if (!lock && lock.error().code == Code::kTimeout) {
    report.say(RunnerWaiting{});
    lock = HostLock::acquire(mode, task.host_lock);
  }
  if (!lock) return lock.error();
  report.say(RunnerProgress{});  // the clock of the first item starts here
  Result<UnitFinished> result = std::visit([&](const auto& work) { return carry_out(task, work, report); }, task.lease.work);
  if (result) result->provenance.ran_alone = alone;
  return result;
}

Result<UnitFinished> carry_out_caught(const RunnerTask& task, Report& report) {
  try {
    return carry_out_alone_or_shared(task, report);
  } catch (const BadResult& bad) {
    return bad.error;
  } catch (const std::bad_alloc&) {
    return Error{Code::kOutOfMemory, "the runner could not allocate memory"};
  } catch (const std::exception& error) {
    return Error{Code::kIo, fmt::format("the runner failed: {}", error.what())};
  }
}

int fail(const Error& error) {
  fmt::print(stderr, "{}\n", error.detail);
  return exit_code(error.code);
}

}  // namespace

void Report::say(const RunnerLine& line) {
  std::string bytes = encode(line);
  bytes += '\n';
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) ::_exit(1);
    sent += static_cast<std::size_t>(n);
  }
}

std::uint64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

int runner_main() {
  const int fd = kRunnerDescriptor;
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);  // not for the programs that a sandbox starts
  if (::nice(5) == -1) errno = 0;  // the agent, which keeps the lease alive, goes first on a machine that we fill
  ::prctl(PR_SET_DUMPABLE, 0);  // a crash is reported by the agent; no core file of a whole model
  const Result<std::variant<RunnerTask, SelftestTask>> first = decode_runner_task(read_line(fd));
  if (!first) return fail(first.error());
  // The agent closes its end to stop us, and the kernel does when the agent dies: then nobody needs this work.
  std::thread([] {
    char byte;
    for (ssize_t n = 1; n > 0 || (n < 0 && errno == EINTR);) n = ::read(fd, &byte, 1);
    ::kill(0, SIGKILL);  // our process group: generated code in its sandbox goes with us
    ::_exit(1);
  }).detach();
  Report report(fd);
  if (const auto* selftest = std::get_if<SelftestTask>(&*first)) {
    const Result<SelftestResult> digests = run_selftest({selftest->model, selftest->kernels, selftest->threads, {}});
    if (!digests) ::_exit(fail(digests.error()));
    report.say(RunnerDigests{*digests});
    ::_exit(0);
  }
  const RunnerTask* task = std::get_if<RunnerTask>(&*first);
  Result<UnitFinished> result = carry_out_caught(*task, report);
  UnitFinished finished;
  if (result) {
    finished = std::move(*result);
  } else {
    finished.error = result.error();
    const Code code = result.error().code;
    finished.retryable = exit_code(code) == 4 && code != Code::kSandboxUnavailable;  // the environment: elsewhere it may work
  }
  finished.unit = task->lease.unit;
  finished.epoch = task->lease.epoch;
  TelemetrySeries memory{"peak_memory_bytes", "proc:VmHWM", 0, 0, 0, 0, 0, ""};
  if (const std::uint64_t bytes = peak_memory_bytes()) {
    memory.coverage = 1;
    memory.mean = memory.min = memory.max = static_cast<double>(bytes);
  } else {
    memory.reason = "/proc/self/status has no VmHWM";
  }
  finished.telemetry.push_back(std::move(memory));
  report.say(finished);
  ::_exit(0);  // at once: nobody waits for destructors of a large model
}

}  // namespace quantfleet::agent
