// quantfleet runs: all runs of a coordinator, newest first.
#include "cli/commands.h"
#include "cli/coordinator_client.h"
#include "cli/run_progress.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet::cli {

std::function<int()> add_runs(CLI::App& app) {
  struct Options {
    CoordinatorAddress address;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_flag("--json", options->json, "as JSON (docs/schemas/runs.json)");
  add_coordinator_options(app, options->address);
  return [options] {
    const CoordinatorClient client = CoordinatorClient::at(options->address).value();
    nlohmann::json answer;
    client.get("/api/runs", answer).value();
    if (options->json) {
      fmt::print("{}\n", answer.dump(2));
      return 0;
    }
    for (const auto& run : answer["runs"]) {
      const auto& units = run["units"];
      int total = 0;
      for (const auto& [state, count] : units.items()) total += count.get<int>();
      fmt::print("{:<36} {:<10} {}  {}/{} units done{}\n", run["id"].get<std::string>(), run["status"].get<std::string>(),
                 local_time(run["submitted_at"].get<double>()), units["done"].get<int>(), total,
                 run["finished_at"].is_number()
                     ? "  took " + duration_words(run["finished_at"].get<double>() - run["submitted_at"].get<double>())
                     : "");
    }
    return 0;
  };
}

}  // namespace quantfleet::cli
