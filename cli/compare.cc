// quantfleet compare BASE CANDIDATE: every (model, format, activations) of one run against the same of another.
#include "cli/commands.h"
#include "cli/run_report.h"
#include "reports/tables/export.h"
#include "reports/tables/terminal.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet::cli {

std::function<int()> add_compare(CLI::App& app) {
  struct Options {
    std::filesystem::path database;
    std::string base, candidate;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("BASE", options->base, "run to compare with")->required();
  app.add_option("CANDIDATE", options->candidate, "run that is judged")->required();
  add_database_option(app, options->database);
  app.add_flag("--json", options->json, "one JSON document on stdout (docs/schemas/compare.json)");
  return [options] {
    const reports::RunSummary summary = reports::summarize_against(read_run(options->database, options->base).value(),
                                                                   read_run(options->database, options->candidate).value());
    if (options->json)
      fmt::print("{}\n", reports::summary_json(summary).dump(2));
    else
      fmt::print("{}", reports::terminal_table(summary, terminal_width()));
    return 0;
  };
}

}  // namespace quantfleet::cli
