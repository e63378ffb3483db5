#include "agent/runner/startup_selftest.h"

#include "agent/runner/runner_process.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

namespace quantfleet::agent {

Result<SelftestResult> selftest_in_runner(const std::vector<std::string>& program, const SelftestTask& task,
                                          const std::filesystem::path& stderr_path, std::chrono::seconds limit) {
  Result<RunnerProcess> runner = RunnerProcess::start(program, stderr_path);
  if (!runner) return runner.error();
  const StopFlag never;
  std::string line;
  if (Status sent = runner->send(encode(task)); !sent) return Error{Code::kCrashed, runner->end(false).what()};
  const auto heard = runner->hear(line, std::chrono::steady_clock::now() + limit, never);
  if (heard == RunnerProcess::Heard::kTimeout) {
    runner->end(true);
    return Error{Code::kTimeout, fmt::format("no digests within {} s", limit.count())};
  }
  if (heard != RunnerProcess::Heard::kLine) return Error{Code::kCrashed, runner->end(false).what()};
  runner->end(false);
  Result<RunnerLine> answer = decode_runner_line(line);
  if (!answer) return answer.error();
  auto* digests = std::get_if<RunnerDigests>(&*answer);
  if (!digests) return Error{Code::kBadValue, "the runner's answer has no digests"};
  return std::move(digests->result);
}

Result<SelftestVerdict> selftest_verdict(const SelftestResult& result, const std::filesystem::path& expected_file) {
  std::ifstream file(expected_file, std::ios::binary);
  if (!file) return Error{Code::kNotFound, fmt::format("{}: cannot be read", expected_file.string())};
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Result<SelftestResult> expected = parse_selftest_json(text);
  if (!expected) return at(expected_file.string(), expected.error());
  if (expected->model_sha256 != result.model_sha256)
    return Error{Code::kHashMismatch, fmt::format("{} is about another model", expected_file.string())};
  int differ = 0;
  std::string first;
  for (const auto& [name, digest] : expected->digests) {
    const auto found = result.digests.find(name);
    if (found != result.digests.end() && found->second == digest) continue;
    if (differ++ == 0) first = name;
  }
  if (differ == 0)
    return SelftestVerdict{true, fmt::format("{} digests, each the expected one ({} kernels)", expected->digests.size(), result.kernels)};
  return SelftestVerdict{false, fmt::format("{} of {} digests differ, {} first: this machine's {} kernels compute something else, its "
                                            "accuracy is not comparable", differ, expected->digests.size(), first, result.kernels)};
}

}  // namespace quantfleet::agent
