// quantfleet coordinator: starts one and runs it until Ctrl-C or SIGTERM; state survives, so a restart goes on.
#include "cli/commands.h"
#include "cli/informative_items.h"
#include "coordinator/service.h"
#include "reports/statistics/sequential.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <memory>

namespace quantfleet::cli {
namespace {

coordinator::Service* running = nullptr;
volatile std::sig_atomic_t signal_seen = 0;

void on_signal(int number) {
  signal_seen = number;
  if (running) running->stop();
}

}  // namespace

std::function<int()> add_coordinator(CLI::App& app) {
  auto options = std::make_shared<coordinator::ServiceOptions>();
  auto database = std::make_shared<std::string>("results.db");
  app.set_config("--config", "", "file with these options, a NAME=VALUE a line");
  app.add_option("--db", *database, "results database, created where there is none")->envname("QUANTFLEET_DB")->capture_default_str();
  app.add_option("--state", options->state, "folder for keys, token, artifacts")->envname("QUANTFLEET_STATE")->capture_default_str();
  app.add_option("--listen", options->listen, "control socket for agents; port 0 lets the system choose")->capture_default_str();
  app.add_option("--artifacts", options->artifacts_listen, "artifact socket for agents [the control socket's port + 2]");
  app.add_option("--http", options->http, "page, API and /metrics: ADDRESS:PORT")->capture_default_str();
  app.add_option("--heartbeat", options->core.heartbeat_seconds, "seconds between an agent's heartbeats")
      ->check(CLI::Range(0.1, 600.0))
      ->capture_default_str();
  return [options, database] {
    if (database->starts_with("postgresql://") || database->starts_with("postgres://"))
      throw BadResult({Code::kUnsupported, "--db: PostgreSQL is not in this release; give a file for SQLite"});
    options->database = *database;
    options->core.stopping_rule = std::make_shared<statistics::BettingRule>();
    options->core.item_chooser = std::make_shared<HistoryChooser>(*database);
    // An agent is offline after five silent heartbeats.
    options->core.agent_silence_seconds = std::max(options->core.agent_silence_seconds, 5 * options->core.heartbeat_seconds);
    Result<std::unique_ptr<coordinator::Service>> service = coordinator::Service::start(*options);
    if (!service) throw BadResult(service.error());
    running = service->get();
    struct sigaction action {};
    action.sa_handler = on_signal;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    fmt::print(stderr, "agents   {}  (artifacts {})\nkey      {}\npage     http://{}/\nresults  {}\n", running->control_endpoint(),
               running->artifact_endpoint(), running->public_key(), running->http_address(), options->database.string());
    const Status end = running->run();
    running = nullptr;
    if (!end) throw BadResult(end.error());
    return signal_seen == SIGINT ? exit_code(Code::kInterrupted) : 0;
  };
}

}  // namespace quantfleet::cli
