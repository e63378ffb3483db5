// A fleet of real processes on loopback for tests: one coordinator on ports that the system chooses, agents with their own
// keys, a tiny random model, the built-in suites. Everything lies below one temporary folder and ends with the object.
#pragma once

#include "tests/folder.h"
#include "tests/paths.h"
#include "coordinator/store/results_reader.h"
#include "tests/random_model.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace quantfleet::test {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Asks again and again until `condition` holds. Fails the test, with `what`, when that takes too long.
inline void wait_until(const std::string& what, const std::function<bool()>& condition, std::chrono::seconds patience = 120s) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) FAIL("waited in vain until " << what);
    std::this_thread::sleep_for(20ms);
  }
}

class Process {
 public:
  Process(const std::string& program, std::vector<std::string> arguments, fs::path log_file) : log(std::move(log_file)) {
    const std::string path = test::binary_dir().string() + "/bin/" + program;
    std::vector<char*> argv = {const_cast<char*>(path.c_str())};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(fd, STDOUT_FILENO);
      ::dup2(fd, STDERR_FILENO);
      ::execv(path.c_str(), argv.data());
      ::_exit(127);
    }
    ::close(fd);
  }
  Process(Process&& other) noexcept : log(std::move(other.log)), pid_(std::exchange(other.pid_, -1)) {}
  Process& operator=(Process&&) = delete;
  ~Process() { kill(SIGKILL); }

  void kill(int signal) {
    if (pid_ <= 0) return;
    ::kill(pid_, signal);
    if (signal == SIGKILL) wait();
  }
  int wait() {  // the exit code; 128 + signal
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string output() const { return contents(log); }

  fs::path log;

 private:
  pid_t pid_ = -1;
};

class Fleet {
 public:
  explicit Fleet(const std::string& name) : root(fs::temp_directory_path() / fmt::format("quantfleet-{}-{}", name, ::getpid())) {
    fs::remove_all(root);
    fs::create_directories(root);
  }
  ~Fleet() {
    agents.clear();
    coordinator.reset();
    fs::remove_all(root);
  }

  // listen: as bound before, after a crash; else a port of the system's choice.
  void start_coordinator(const std::string& listen = "tcp://127.0.0.1:0", const std::string& artifacts = "") {
    fs::remove(root / "coordinator.json");
    std::vector<std::string> arguments = {"coordinator", "--state", root, "--db", database(), "--listen", listen, "--http", "127.0.0.1:0",
                                          "--heartbeat", "0.3"};
    if (!artifacts.empty()) arguments.insert(arguments.end(), {"--artifacts", artifacts});
    coordinator.emplace("quantfleet", arguments, root / "coordinator.log");
    wait_until("the coordinator listens", [&] {
      std::ifstream file(root / "coordinator.json");
      facts = file ? nlohmann::json::parse(file, nullptr, false) : nlohmann::json();
      return facts.is_object();
    });
  }

  std::vector<std::string> agent_arguments(const std::string& name) const {
    return {"--coordinator", facts["control"], "--coordinator-key", facts["public_key"], "--name", name, "--state", root / name,
            "--threads", "1", "--kernels", "scalar", "--host-lock", root / "host"};
  }
  void start_agent(const std::string& name, bool admitted = true) {
    if (admitted && !fs::exists(root / name)) {
      Process show("quantfleet-agent", {"--state", root / name, "--show-key"}, root / (name + ".key"));
      REQUIRE(show.wait() == 0);
      std::string key = show.output();
      key.pop_back();
      Process trust("quantfleet", {"key", "trust", key, "--name", name, "--state", root}, root / "trust.log");
      CAPTURE(trust.output());
      REQUIRE(trust.wait() == 0);
    }
    agents.erase(name);
    agents.emplace(name, Process("quantfleet-agent", agent_arguments(name), root / (name + ".log")));
  }

  // A run over 2 formats of a tiny model: quantize, accuracy in units of 8 items, timing.
  Process submit(int agents_wanted) {
    RandomModel shape;
    shape.width = 128, shape.layers = 3, shape.feed_forward = 256, shape.context = 2048;
    REQUIRE(write_random_model(root / "tiny.gguf", shape).has_value());
    std::ofstream(root / "plan.yaml") << "name: tiny\nmodels: [{name: tiny, path: tiny.gguf}]\nformats: [F16, Q8_0]\nbaseline: F16\n"
                                         "activations: [default]\nsuites: [{name: reasoning, limit: 48}, {name: language, limit: 48}]\n"
                                         "accuracy: once\ntiming: {prompt_tokens: 16, generated_tokens: 4, repetitions: 2}\n"
                                         "limits: {unit_items: 8, attempts: 5, lease_seconds: 4}\n";
    return Process("quantfleet", {"submit", root / "plan.yaml", "--wait", "--agents", std::to_string(agents_wanted), "--state", root},
                   root / "submit.log");
  }

  fs::path database() const { return root / "results.db"; }
  std::optional<RunResults> results() const {
    auto reader = open_results(database());
    if (!reader) return std::nullopt;
    const auto run = (*reader)->find_run("latest");
    if (!run) return std::nullopt;
    auto read = (*reader)->read_run(run->id);
    if (!read) return std::nullopt;
    return std::move(*read);
  }
  bool finished() const {
    const auto now = results();
    return now && now->run.status != "running" && now->run.status != "waiting";
  }
  std::string logs() const {
    std::string all;
    for (const auto& entry : fs::directory_iterator(root))
      if (entry.path().extension() == ".log") all += fmt::format("--- {}\n{}", entry.path().filename().string(), contents(entry.path()));
    return all;
  }

  fs::path root;
  nlohmann::json facts;
  std::optional<Process> coordinator;
  std::map<std::string, Process> agents;
};

// Every unit done, every item of every unit there exactly once, none with an error.
inline void check_complete(const RunResults& run) {
  CHECK(run.run.status == "done");
  std::map<std::string, std::map<int, int>> seen;
  for (const ResultRow& row : run.rows) {
    ++seen[run.units[row.unit].id.value][row.item.index];
    CAPTURE(row.item.item.value, row.item.error ? row.item.error->detail : "");
    CHECK_FALSE(row.item.error);
  }
  for (const UnitRow& unit : run.units) {
    CAPTURE(unit.id.value, unit.reason);
    CHECK(unit.state == "done");
    CHECK(unit.rows == unit.items);
    CHECK(static_cast<int>(seen[unit.id.value].size()) == unit.items);
    for (const auto& [index, count] : seen[unit.id.value]) CHECK(count == 1);
  }
}

}  // namespace quantfleet::test
