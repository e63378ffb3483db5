// The self-test at an agent's start: what a runner answers, how it dies, and what the log says about digests.
#include "agent/runner/startup_selftest.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace quantfleet;
using namespace quantfleet::agent;
using Catch::Matchers::Contains;

namespace {

// A runner in Python: sees the first line as `line`.
Result<SelftestResult> selftest_with(const std::string& body, std::chrono::seconds limit = std::chrono::seconds(60)) {
  const std::string script = R"(
import json, os, signal, socket, time
s = socket.socket(fileno=3)
lines = s.makefile("rw")
line = lines.readline()
)" + body;
  return selftest_in_runner({"/usr/bin/python3", "-I", "-S", "-c", script}, {"model.gguf", "scalar", 3}, "/dev/null", limit);
}

}  // namespace

TEST_CASE("the runner's digests are the self-test's result", "[selftest]") {
  const auto result = selftest_with(R"(
task = json.loads(line[len("selftest "):])
lines.write("digests " + json.dumps({"model_sha256": "ab", "kernels": task["kernels"], "digests": {task["model"]: str(task["threads"])}}) + "\n")
lines.flush()
)");
  REQUIRE(result.has_value());
  CHECK(result->kernels == "scalar");
  CHECK(result->digests == std::map<std::string, std::string>{{"model.gguf", "3"}});
}

TEST_CASE("a self-test that crashes, hangs or talks nonsense is an error, not the agent's end", "[selftest]") {
  const auto crashed = selftest_with("os.kill(os.getpid(), signal.SIGILL)");
  REQUIRE_FALSE(crashed.has_value());
  CHECK(crashed.error().code == Code::kCrashed);
  CHECK_THAT(crashed.error().detail, Contains("SIGILL"));
  const auto hung = selftest_with("time.sleep(600)", std::chrono::seconds(1));
  REQUIRE_FALSE(hung.has_value());
  CHECK(hung.error().code == Code::kTimeout);
  for (const std::string answer : {"hello", "digests {", "digests []", "waiting {}"}) {
    CAPTURE(answer);
    const auto nonsense = selftest_with("lines.write('" + answer + "\\n'); lines.flush()");
    REQUIRE_FALSE(nonsense.has_value());
    CHECK(nonsense.error().code == Code::kBadValue);
  }
}

TEST_CASE("the verdict names the first digest that differs", "[selftest]") {
  const auto file = std::filesystem::temp_directory_path() / ("quantfleet-selftest-" + std::to_string(::getpid()) + ".json");
  SelftestResult result{"ab", "avx2", {{"F16/f32/decode5", "1"}, {"Q8_0/int8/decode5", "2"}}};
  std::ofstream(file) << selftest_json(result);
  CHECK(selftest_verdict(result, file)->as_expected);
  CHECK_THAT(selftest_verdict(result, file)->sentence, Contains("2 digests, each the expected one (avx2 kernels)"));
  result.digests["Q8_0/int8/decode5"] = "3";
  CHECK_FALSE(selftest_verdict(result, file)->as_expected);
  CHECK_THAT(selftest_verdict(result, file)->sentence, Contains("1 of 2 digests differ, Q8_0/int8/decode5 first"));
  result.digests.erase("F16/f32/decode5");
  CHECK_THAT(selftest_verdict(result, file)->sentence, Contains("2 of 2 digests differ, F16/f32/decode5 first"));
  result.model_sha256 = "cd";
  CHECK(selftest_verdict(result, file).error().code == Code::kHashMismatch);
  std::filesystem::remove(file);
  CHECK(selftest_verdict(result, file).error().code == Code::kNotFound);
}
