// quantfleet demo: a fleet on this machine from nothing: keys, a coordinator and two agents as processes of their own on
// loopback over encrypted sockets, plans/demo.yaml, live progress, a report. A second call in the same folder goes on with an
// unfinished run, or measures again.
#include "agent/agent.h"
#include "agent/command_line.h"
#include "backends/kernels/kernels.h"
#include "cli/child_process.h"
#include "cli/commands.h"
#include "cli/coordinator_client.h"
#include "cli/interrupt.h"
#include "cli/live_progress.h"
#include "cli/plan_file.h"
#include "cli/plan_upload.h"
#include "cli/run_report.h"
#include "cli/token_probes.h"
#include "coordinator/transport/keys.h"
#include "reports/tables/terminal.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>

namespace quantfleet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct DemoOptions {
  fs::path directory = "quantfleet-demo";
  fs::path plan;
  int agents = 2;
  int threads = 0;  // of each agent
  std::string kernels;  // as well; empty: the best of this CPU
};

[[noreturn]] void fail(Error error) { throw BadResult(std::move(error)); }

fs::path default_plan() {
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  const fs::path installed = program.parent_path().parent_path() / "share/quantfleet/plans/demo.yaml";
  if (!unknown && fs::exists(installed, unknown)) return installed;
  return fs::path(QUANTFLEET_SOURCE_DIR) / "plans/demo.yaml";
}

class Demo {
 public:
  explicit Demo(DemoOptions options) : options_(std::move(options)), directory_(options_.directory) {}

  ~Demo() {  // after an error or Ctrl-C: nobody finishes anything first
    for (int twice = 0; twice < 2 && !processes_.empty(); ++twice) {
      for (const ChildProcess& process : processes_) process.signal(SIGTERM);
      std::this_thread::sleep_for(milliseconds(100));
    }
    stop_all();
  }
  Demo(const Demo&) = delete;
  Demo& operator=(const Demo&) = delete;

  int run() {
    JobSpec spec = read_plan(options_.plan).value();  // before anything is started
    make_directories();
    probes_ = write_token_probes(spec, directory_ / "token_probes").value();
    start_coordinator();
    start_agents();
    const CoordinatorClient client = CoordinatorClient::at({coordinator_["http"].get<std::string>(), directory_}).value();
    wait_for_agents(client);
    const std::string run = find_unfinished(client, spec).value_or("");
    const std::string id = run.empty() ? submit(client, spec) : run;
    std::error_code ignored;
    fs::remove_all(directory_ / "token_probes", ignored);
    fmt::print(stderr, "{} {} with {} agents; live page: {}\n", run.empty() ? "running" : "going on with", id, agents_.size(), client.url());
    follow(client, id);
    stop_all();
    return show(id);
  }

 private:
  void make_directories() {
    for (const char* folder : {"logs", "keys", "agents"}) {
      std::error_code why;
      fs::create_directories(directory_ / folder, why);
      if (why) fail({Code::kPermission, fmt::format("{}: cannot create: {}", (directory_ / folder).string(), why.message())});
    }
    directory_ = fs::canonical(directory_);
  }

  fs::path log_of(const std::string& name) const { return directory_ / "logs" / (name + ".log"); }

  void start_coordinator() {
    std::error_code ignored;
    fs::remove(directory_ / "coordinator.json", ignored);  // of an earlier demo
    processes_.push_back(ChildProcess::start("coordinator",
                                             {"coordinator", "--db", (directory_ / "results.db").string(), "--state", directory_.string(),
                                              "--listen", "tcp://127.0.0.1:0", "--http", "127.0.0.1:0", "--heartbeat", "1"},
                                             log_of("coordinator"))
                             .value());
    wait_until(30, "the coordinator has not started", [&] {
      std::ifstream file(directory_ / "coordinator.json");
      coordinator_ = file ? json::parse(file, nullptr, false) : json();
      return coordinator_.is_object();
    });
  }

  void start_agents() {
    const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    const int threads = options_.threads > 0 ? options_.threads : std::max(1, cores / options_.agents);
    for (int i = 1; i <= options_.agents; ++i) {
      const std::string name = fmt::format("agent-{}", i);
      const fs::path state = directory_ / "agents" / name;
      const std::string key = agent::agent_public_key(state).value();
      coordinator::trust_key(directory_ / "keys/trusted.keys", key, name).value();
      processes_.push_back(ChildProcess::start(name,
                                               {"agent", "--coordinator", coordinator_["control"].get<std::string>(), "--coordinator-key",
                                                coordinator_["public_key"].get<std::string>(), "--name", name, "--state", state.string(),
                                                "--threads", std::to_string(threads), "--kernels", options_.kernels},
                                               log_of(name))
                               .value());
      agents_.push_back(name);
    }
  }

  void wait_for_agents(const CoordinatorClient& client) {
    wait_until(60, "not all agents have registered", [&] {
      json answer;
      if (!client.get("/api/devices", answer)) return false;
      int connected = 0;
      for (const json& device : answer["devices"]) connected += device["state"] != "offline";
      return connected >= options_.agents;
    });
  }

  std::optional<std::string> find_unfinished(const CoordinatorClient& client, const JobSpec& spec) {
    json answer;
    client.get("/api/runs", answer).value();
    JobSpec sent = spec;
    const std::string plan = canonical_json(sent);
    for (const json& run : answer["runs"]) {
      if (run["status"] != "running" && run["status"] != "waiting") continue;
      json details;
      client.get("/api/runs/" + run["id"].get<std::string>(), details).value();
      json wanted = json::parse(plan);
      for (json* models : {&wanted["models"], &details["plan"]["models"]})
        for (json& model : *models) model.erase("path");
      if (details["plan"] == wanted) return run["id"].get<std::string>();
    }
    return std::nullopt;
  }

  std::string submit(const CoordinatorClient& client, JobSpec spec) {
    for (const TokenProbesFile& file : probes_)
      if (!client.has_artifact(file.sha256).value()) client.put_artifact(file.path, file.sha256, [](std::uint64_t, std::uint64_t) {}).value();
    upload_plan_files(client, spec).value();
    json answer;
    client.post("/api/runs", "application/json", canonical_json(spec), answer).value();
    return answer["run"].get<std::string>();
  }

  static RunCounts counts_of(const json& run) {
    RunCounts counts;
    counts.status = run["status"].get<std::string>();
    for (const json& kind : run["progress"]) {
      const int failed = kind["failed"].get<int>() + kind["cancelled"].get<int>();
      counts.units[kind["kind"].get<std::string>()] = {kind["done"].get<int>() + failed, kind["units"].get<int>()};
      counts.failed += failed;
      counts.items_done += kind["rows"].get<std::int64_t>();
      counts.items_total += kind["items"].get<std::int64_t>();
    }
    return counts;
  }

  void follow(const CoordinatorClient& client, const std::string& id) {
    LiveProgress progress(id);
    for (auto heard = steady_clock::now();;) {
      check_children();
      json run;
      if (client.get("/api/runs/" + id, run)) {
        heard = steady_clock::now();
        const RunCounts counts = counts_of(run);
        if (counts.status != "running" && counts.status != "waiting") break;
        progress.update(counts);
      } else if (steady_clock::now() - heard > std::chrono::seconds(60)) {
        fail({Code::kUnreachable, fmt::format("the coordinator does not answer (log: {})", log_of("coordinator").string())});
      }
      pause(milliseconds(500));
    }
    progress.erase();
  }

  int show(const std::string& id) {
    const reports::RunSummary summary = reports::summarize(read_run(directory_ / "results.db", id).value());
    const fs::path page = write_run_files(summary, directory_).value();
    const std::string database = (options_.directory / "results.db").string();
    fmt::print("{}\n", reports::terminal_table(summary, terminal_width()));
    fmt::print("Report: {}\n\nWorth trying next:\n", page.string());
    fmt::print("  quantfleet results {} --json --db {}\n", id, database);
    fmt::print("  quantfleet evaluate YOUR-MODEL.gguf --suite reasoning\n");
    fmt::print("  quantfleet run YOUR-PLAN.yaml        (begin with a copy of {})\n", options_.plan.string());
    return 0;
  }

  // ---- processes ----

  void pause(milliseconds time) {
    std::this_thread::sleep_for(time);
    if (interrupted()) fail({Code::kInterrupted, fmt::format("interrupted; `quantfleet demo --dir {}` goes on with this run", options_.directory.string())});
  }

  void check_children() {
    for (ChildProcess& process : processes_)
      if (!process.running()) fail(process.ended());
  }

  template <class Condition>
  void wait_until(int seconds, const std::string& otherwise, const Condition& condition) {
    const auto end = steady_clock::now() + std::chrono::seconds(seconds);
    while (!condition()) {
      check_children();
      if (steady_clock::now() > end)
        fail({Code::kUnreachable, fmt::format("{} after {} s (logs: {})", otherwise, seconds, (directory_ / "logs").string())});
      pause(milliseconds(50));
    }
  }

  void stop_all() {
    while (!processes_.empty()) {  // agents first: they have nothing to do, and say goodbye
      processes_.back().stop(std::chrono::seconds(5));
      processes_.pop_back();
    }
  }

  DemoOptions options_;
  fs::path directory_;               // absolute
  json coordinator_;                 // coordinator.json
  std::vector<std::string> agents_;
  std::vector<ChildProcess> processes_;
  std::vector<TokenProbesFile> probes_;
};

}  // namespace

std::function<int()> add_demo(CLI::App& app) {
  auto options = std::make_shared<DemoOptions>();
  options->plan = default_plan();
  app.add_option("--dir", options->directory, "folder for results, report, artifacts and logs")->capture_default_str();
  app.add_option("--plan", options->plan, "the plan to run")->capture_default_str();
  app.add_option("--agents", options->agents, "agents to start")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--threads", options->threads, "threads of each agent's runner; 0 = cores / agents [0]")->check(CLI::Range(0, 1024));
  app.add_option("--kernels", options->kernels, "kernel family of each agent instead of the CPU's best: scalar, avx2, avx512_vnni, neon, neon_dotprod")
      ->envname("QUANTFLEET_KERNELS");
  return [options] {
    options->kernels = find_kernels(options->kernels).value()->name;  // before anything is started
    catch_interrupts();
    ::signal(SIGPIPE, SIG_IGN);
    return Demo(*options).run();
  };
}

}  // namespace quantfleet::cli
