// quantfleet results: the table of a run, or its numbers for machines.
#include "cli/commands.h"
#include "cli/run_report.h"
#include "reports/tables/export.h"
#include "reports/tables/terminal.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet::cli {

std::function<int()> add_results(CLI::App& app) {
  struct Options {
    std::filesystem::path database;
    std::string run = "latest";
    bool json = false, csv = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("RUN", options->run, "run id, a unique prefix of one, or latest [latest]");
  add_database_option(app, options->database);
  CLI::Option* json = app.add_flag("--json", options->json, "one JSON array: an object per device, model, format and suite");
  app.add_flag("--csv", options->csv, "the same as comma-separated values")->excludes(json);
  return [options] {
    const reports::RunSummary summary = reports::summarize(read_run(options->database, options->run).value());
    if (options->json)
      fmt::print("{}\n", reports::results_json(summary).dump(2));
    else if (options->csv)
      fmt::print("{}", reports::results_csv(summary));
    else
      fmt::print("{}", reports::terminal_table(summary, terminal_width()));
    return 0;
  };
}

}  // namespace quantfleet::cli
