// quantfleet results: the table of a run, or its numbers for machines.
#include "cli/commands.h"
#include "cli/run_report.h"
#include "reports/tables/export.h"
#include "reports/tables/terminal.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet::cli {
namespace {

void print_groups(const reports::RunSummary& summary) {
  for (const reports::FormatSummary& format : summary.formats) {
    const auto print_numbers = [&](const std::string& suite, const std::vector<reports::Aggregate>& numbers) {
      fmt::print("\n{} {} {}, {}:", format.model, format.format, format.activations, suite);
      for (const reports::Aggregate& one : numbers)
        fmt::print(" {} {:.4g}{}", one.name, one.value, one.standard_error ? fmt::format(" ± {:.2g}", *one.standard_error) : "");
    };
    for (const reports::SuiteScore& suite : format.suites) {
      if (suite.aggregates.empty() && suite.groups.empty()) continue;
      print_numbers(suite.suite.name, suite.aggregates);
      for (const auto& [group, one] : suite.groups)
        fmt::print("\n  {:<44} {:>6}  {:>5.1f} ± {:.1f} %", group, one.items, 100 * one.value, 100 * one.standard_error.value_or(0));
      fmt::print("\n");
    }
    for (const auto& [text, numbers] : format.texts) {
      print_numbers(text, numbers);
      fmt::print("\n");
    }
  }
}

}  // namespace

std::function<int()> add_results(CLI::App& app) {
  struct Options {
    std::filesystem::path database;
    std::string run = "latest";
    bool json = false, csv = false, groups = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("RUN", options->run, "run id, a unique prefix of one, or latest [latest]");
  add_database_option(app, options->database);
  CLI::Option* json = app.add_flag("--json", options->json, "one JSON array: an object per device, model, format and suite");
  app.add_flag("--csv", options->csv, "the same as comma-separated values")->excludes(json);
  app.add_flag("--groups", options->groups, "below the table: accuracy by group of items (MMLU's subjects) and each suite's further numbers")->excludes(json);
  return [options] {
    const reports::RunSummary summary = reports::summarize(read_run(options->database, options->run).value());
    if (options->json)
      fmt::print("{}\n", reports::results_json(summary).dump(2));
    else if (options->csv)
      fmt::print("{}", reports::results_csv(summary));
    else
      fmt::print("{}", reports::terminal_table(summary, terminal_width()));
    if (options->groups) print_groups(summary);
    return 0;
  };
}

}  // namespace quantfleet::cli
