// quantfleet cancel: ends a run; rows that are stored stay.
#include "cli/commands.h"
#include "cli/coordinator_client.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet::cli {

std::function<int()> add_cancel(CLI::App& app) {
  struct Options {
    CoordinatorAddress address;
    std::string run;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("RUN", options->run, "run id or a unique prefix of one")->required();
  app.add_flag("--json", options->json, "as JSON (docs/schemas/cancel.json)");
  add_coordinator_options(app, options->address);
  return [options] {
    const CoordinatorClient client = CoordinatorClient::at(options->address).value();
    nlohmann::json answer;
    client.post("/api/runs/" + options->run + "/cancel", "application/json", "", answer).value();
    if (options->json) fmt::print("{}\n", answer.dump(2));
    else fmt::print("{} {}\n", answer["run"].get<std::string>(), answer["status"].get<std::string>());
    return 0;
  };
}

}  // namespace quantfleet::cli
