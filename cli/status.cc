// quantfleet status: where the latest run (or a named one) stands.
#include "cli/commands.h"
#include "cli/coordinator_client.h"
#include "cli/run_progress.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet::cli {

int follow_run(const CoordinatorClient& client, const std::string& run, nlohmann::json& last);  // submit.cc

std::function<int()> add_status(CLI::App& app) {
  struct Options {
    CoordinatorAddress address;
    std::string run = "latest";
    bool watch = false, json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("RUN", options->run, "run id, a unique prefix of one, or latest")->capture_default_str();
  app.add_flag("--watch", options->watch, "follow it to its end");
  app.add_flag("--json", options->json, "as JSON (docs/schemas/run.json)");
  add_coordinator_options(app, options->address);
  return [options] {
    const CoordinatorClient client = CoordinatorClient::at(options->address).value();
    nlohmann::json run;
    int code = 0;
    if (options->watch) code = follow_run(client, options->run, run);
    else client.get("/api/runs/" + options->run, run).value();
    if (run.is_null()) return code;
    if (options->json) fmt::print("{}\n", run.dump(2));
    else fmt::print("{}", progress_table(run));
    return code;
  };
}

}  // namespace quantfleet::cli
