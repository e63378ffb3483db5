// The agent's side of a lease against runner processes that behave badly: Python programs in the place of the real runner.
#include "agent/runner/lease_runner.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>

using namespace quantfleet;
using namespace quantfleet::agent;
using namespace std::chrono_literals;

namespace {

class NoArtifacts : public ArtifactSource {
 public:
  Result<std::filesystem::path> fetch(const std::string&, const StopFlag&) override { return std::filesystem::path("/dev/null"); }
  Status store(const std::filesystem::path&, const Artifact&, const StopFlag&) override { return {}; }
  void release() override { released = true; }
  bool released = false;
};

GrantLease lease_of(int items, double item_seconds = 30) {
  GrantLease lease;
  lease.unit = UnitId{"run/accuracy"};
  lease.epoch = LeaseEpoch{3};
  AccuracyWork work;
  work.model_sha256 = std::string(64, 'a');
  work.format = "Q4_0";
  work.activations = "f32";
  work.suite = "fixture";
  work.item_end = items;
  work.item_seconds = item_seconds;
  lease.work = work;
  return lease;
}

// A runner in Python: `body` runs for each batch of items that have no row yet; it may call row(i), and die.
std::vector<std::string> runner(const std::string& body) {
  ItemResult row;
  row.item = ItemId{"ITEM"};
  row.index = 7777;
  UnitFinished finished;
  finished.unit = UnitId{"run/accuracy"};
  finished.epoch = LeaseEpoch{3};
  const std::string script = R"(
import json, os, signal, socket, time
s = socket.socket(fileno=3)
lines = s.makefile("rw")
task = json.loads(lines.readline()[5:])
def say(line):
    lines.write(line + "\n"); lines.flush()
ROW = json.loads(')" + encode(row) + R"(')
def row(i):
    ROW["item"] = "item-%d" % i; ROW["index"] = i; say("row " + json.dumps(ROW))
def began(batch): say("began " + json.dumps([[i, "item-%d" % i] for i in batch]))
work = json.loads(task["lease"])
left = [i for i in range(ITEMS) if i not in task["skip"]]
alone = task["one_at_a_time"]
batches = [[i] for i in left] if alone else [left]
for batch in batches:
    if not batch: continue
    began(batch)
    for i in batch:
)" + body + R"(
say("finished " + ')" + encode(AgentMessage(finished)) + R"(')
)";
  return {"/usr/bin/python3", "-I", "-S", "-c", script};
}

struct Outcome {
  UnitFinished finished;
  std::map<int, ItemResult> rows;
  int doubled = 0;
  bool released = false;
};

Outcome carry_out(std::vector<std::string> program, int items, double item_seconds = 30) {
  for (std::string& part : program)
    if (const std::size_t at = part.find("ITEMS"); at != std::string::npos) part.replace(at, 5, std::to_string(items));
  LeaseRunnerOptions options;
  options.program = std::move(program);
  options.work_directory = std::filesystem::temp_directory_path();
  NoArtifacts artifacts;
  StopFlag stop;
  Outcome outcome;
  LeaseEvents events;
  events.rows = [&](std::vector<ItemResult> rows) {
    for (ItemResult& row : rows)
      if (!outcome.rows.emplace(row.index, row).second) ++outcome.doubled;
  };
  outcome.finished = carry_out_lease(lease_of(items, item_seconds), options, artifacts, nullptr, events, stop);
  outcome.released = artifacts.released;
  return outcome;
}

}  // namespace

TEST_CASE("rows stream back and the unit ends without an error", "[runner]") {
  const Outcome outcome = carry_out(runner("        row(i)"), 40);
  CHECK_FALSE(outcome.finished.error);
  CHECK(outcome.finished.unit.value == "run/accuracy");
  CHECK(outcome.rows.size() == 40);
  CHECK(outcome.doubled == 0);
  CHECK(outcome.released);
}

TEST_CASE("an item that kills the runner costs one item, named with its evidence", "[runner]") {
  const std::string signal = GENERATE("SIGSEGV", "SIGBUS", "SIGKILL");
  CAPTURE(signal);
  const Outcome outcome = carry_out(runner("        if i == 2: os.kill(os.getpid(), signal." + signal + ")\n        row(i)"), 5);
  CHECK_FALSE(outcome.finished.error);
  REQUIRE(outcome.rows.size() == 5);
  CHECK(outcome.doubled == 0);
  for (const auto& [index, row] : outcome.rows) {
    CAPTURE(index);
    CHECK(row.error.has_value() == (index == 2));
  }
  const Error& error = *outcome.rows.at(2).error;
  CHECK(error.code == (signal == "SIGKILL" ? Code::kOutOfMemory : Code::kCrashed));
  CHECK(error.detail.find("item-2") != std::string::npos);
  CHECK(error.detail.find(signal) != std::string::npos);
}

TEST_CASE("an item that takes too long is a timeout, the others are measured", "[runner]") {
  const Outcome outcome = carry_out(runner("        if i == 1: time.sleep(600)\n        row(i)"), 3, /*item_seconds=*/0.3);
  CHECK_FALSE(outcome.finished.error);
  REQUIRE(outcome.rows.size() == 3);
  REQUIRE(outcome.rows.at(1).error);
  CHECK(outcome.rows.at(1).error->code == Code::kTimeout);
  CHECK_FALSE(outcome.rows.at(2).error);
}

TEST_CASE("a runner that dies before any item fails the unit, and another attempt is allowed", "[runner]") {
  const Outcome outcome = carry_out({"/usr/bin/python3", "-I", "-S", "-c", "import os; os.kill(os.getpid(), 11)"}, 3);
  REQUIRE(outcome.finished.error);
  CHECK(outcome.finished.error->code == Code::kCrashed);
  CHECK(outcome.finished.retryable);
  CHECK(outcome.rows.empty());
}

TEST_CASE("a runner that dies on every item gives up instead of starting for ever", "[runner]") {
  const Outcome outcome = carry_out(runner("        os.abort()"), 50);
  REQUIRE(outcome.finished.error);
  CHECK(outcome.finished.error->detail.find("SIGABRT") != std::string::npos);
  CHECK(outcome.rows.size() < 10);
}

TEST_CASE("a runner that talks nonsense does not confuse the agent", "[runner]") {
  const Outcome outcome = carry_out({"/usr/bin/python3", "-I", "-S", "-c", "import os; os.write(3, b'hello there\\n'); os.read(3, 99999)"}, 3);
  REQUIRE(outcome.finished.error);
  CHECK(outcome.finished.error->detail.find("unknown word") != std::string::npos);
}

TEST_CASE("a program that is not there is an error of the unit", "[runner]") {
  const Outcome outcome = carry_out({"/nonexistent/runner"}, 3);
  REQUIRE(outcome.finished.error);
  CHECK(outcome.finished.error->detail.find("/nonexistent/runner") != std::string::npos);
}

TEST_CASE("a stopped lease ends its runner", "[runner]") {
  LeaseRunnerOptions options;
  options.program = {"/bin/sleep", "600"};
  NoArtifacts artifacts;
  StopFlag stop;
  stop.set();
  const UnitFinished finished = carry_out_lease(lease_of(3), options, artifacts, nullptr, {[](auto) {}}, stop);
  REQUIRE(finished.error);
  CHECK(finished.error->code == Code::kCancelled);
}

TEST_CASE("a task and every line of a runner read back as they were written", "[runner]") {
  RunnerTask task;
  task.lease = lease_of(4);
  task.model = "/tmp/model";
  task.output = "/tmp/out put";
  task.kernels = "avx2";
  task.threads = 3;
  task.pin = true;
  task.skip = {1, 2};
  task.one_at_a_time = true;
  const auto read = decode_runner_task(encode(task));
  REQUIRE(read.has_value());
  CHECK(std::get<RunnerTask>(*read) == task);
  const SelftestTask selftest{"/tmp/mo del", "scalar", 2};
  const auto read_selftest = decode_runner_task(encode(selftest));
  REQUIRE(read_selftest.has_value());
  CHECK(std::get<SelftestTask>(*read_selftest) == selftest);
  for (const char* line : {"selftest", "selftest {}", "digests {}", "digests [1]", "", "row", "row {", "task 3", "began [[1]]", "began {\"a\":1}", "progress {}", "finished {}", "began [[\"x\",\"y\"]]"}) {
    CAPTURE(line);
    CHECK_FALSE(decode_runner_line(line).has_value());
    CHECK_FALSE(decode_runner_task(line).has_value());
  }
}
