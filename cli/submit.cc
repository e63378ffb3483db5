// quantfleet submit: a plan to a coordinator; uploads the models and suites it lacks, by hash.
#include "cli/commands.h"
#include "cli/coordinator_client.h"
#include "cli/plan_file.h"
#include "cli/plan_upload.h"
#include "cli/run_progress.h"
#include "cli/suite_bundles.h"
#include "cli/suites_root.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <thread>

namespace quantfleet::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

void pause_for(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!interrupted && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

Status wait_for_agents(const CoordinatorClient& client, int wanted, int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (bool told = false;; told = true) {
    nlohmann::json answer;
    if (const Status s = client.get("/api/devices", answer); !s) return s;
    int connected = 0;
    for (const auto& device : answer["devices"]) connected += device["state"] != "offline";
    if (connected >= wanted) return {};
    if (interrupted) return Error{Code::kInterrupted, "interrupted"};
    if (std::chrono::steady_clock::now() >= end)
      return Error{Code::kUnreachable, fmt::format("{} of {} agents are connected to {} after {} s", connected, wanted, client.url(), seconds)};
    if (!told) fmt::print(stderr, "waiting for {} agents at {} ({} connected)\n", wanted, client.url(), connected);
    pause_for(std::chrono::milliseconds(500));
  }
}

// Suites that are not part of the program go with the run.
Status upload_suites(const CoordinatorClient& client, JobSpec& spec, const std::filesystem::path& root) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / fmt::format("quantfleet-submit-{}", ::getpid());
  std::error_code ignored;
  Status status;
  const auto bundles = bundle_suites(spec, root, folder);
  if (!bundles) status = bundles.error();
  else
    for (const SuiteBundle& bundle : *bundles) {
      const Result<bool> there = client.has_artifact(bundle.sha256);
      if (!there) status = there.error();
      else if (!*there) status = client.put_artifact(bundle.file, bundle.sha256, [](std::uint64_t, std::uint64_t) {});
      if (!status) break;
    }
  std::filesystem::remove_all(folder, ignored);
  return status;
}

}  // namespace

// Follows a run to its end. 0 done, 1 where units failed or it was cancelled, 130 interrupted (the run goes on).
int follow_run(const CoordinatorClient& client, const std::string& run, nlohmann::json& last) {
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  auto next_line = std::chrono::steady_clock::now();
  for (int silent = 0;;) {
    if (const Status s = client.get("/api/runs/" + run, last); !s) {
      if (++silent < 30 && s.error().code == Code::kUnreachable && !interrupted) {  // it may be restarting
        pause_for(std::chrono::seconds(1));
        continue;
      }
      fmt::print(stderr, "quantfleet: {}\n", s.error().detail);
      return exit_code(s.error().code);
    }
    silent = 0;
    const std::string status = last["status"];
    const bool ended = status != "running" && status != "waiting";
    if (terminal) fmt::print(stderr, "\r\033[K{}", progress_line(last));
    else if (ended || std::chrono::steady_clock::now() >= next_line) {
      fmt::print(stderr, "{}\n", progress_line(last));
      next_line = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    }
    if (ended || interrupted) {
      if (terminal) fmt::print(stderr, "\n");
      if (!ended) return exit_code(Code::kInterrupted);
      return status == "done" ? 0 : 1;
    }
    pause_for(std::chrono::milliseconds(terminal ? 500 : 1000));
  }
}

std::function<int()> add_submit(CLI::App& app) {
  struct Options {
    CoordinatorAddress address;
    std::filesystem::path plan, suites;
    bool wait = false, json = false;
    int agents = 1, agents_seconds = 60;
  };
  auto options = std::make_shared<Options>();
  app.add_option("PLAN", options->plan, "plan in YAML (docs: plans/demo.yaml)")->required();
  options->suites = default_suites_root();
  app.add_option("--suites", options->suites, "folder of suites: those of the plan that are not built in (imported or made by hand) travel from here with the run")->capture_default_str();
  app.add_flag("--wait", options->wait, "follow the run to its end; Ctrl-C leaves it running");
  app.add_option("--agents", options->agents, "first wait until so many agents are connected")->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--agents-timeout", options->agents_seconds, "seconds to wait for them")->check(CLI::Range(0, 86400))->capture_default_str();
  app.add_flag("--json", options->json, "the run's id (docs/schemas/submit.json), or with --wait its final state (docs/schemas/run.json), as JSON");
  add_coordinator_options(app, options->address);
  return [options] {
    ::signal(SIGINT, [](int) { interrupted = 1; });
    ::signal(SIGPIPE, SIG_IGN);
    JobSpec spec = read_plan(options->plan).value();
    const CoordinatorClient client = CoordinatorClient::at(options->address).value();
    wait_for_agents(client, options->agents, options->agents_seconds).value();
    upload_plan_files(client, spec).value();
    upload_suites(client, spec, options->suites).value();
    nlohmann::json answer;
    client.post("/api/runs", "application/json", canonical_json(spec), answer).value();
    const std::string run = answer["run"];
    for (const auto& same : answer["same_plan_as"])
      fmt::print(stderr, "the same question was asked before: {}\n", same.get<std::string>());
    if (!options->wait) {
      if (options->json) fmt::print("{}\n", answer.dump(2));
      else fmt::print("{}\n", run);
      return 0;
    }
    nlohmann::json last;
    const int code = follow_run(client, run, last);
    if (last.is_null()) return code;
    if (options->json) fmt::print("{}\n", last.dump(2));
    else fmt::print("{}", progress_table(last));
    return code;
  };
}

}  // namespace quantfleet::cli
