// quantfleet report RUN --html DIR: the self-contained page; --grafana FILE: the dashboard.
#include "backends/formats/output_file.h"
#include "cli/commands.h"
#include "cli/run_report.h"
#include "reports/grafana/dashboard.h"
#include "reports/html/page.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet::cli {

std::function<int()> add_report(CLI::App& app) {
  struct Options {
    std::filesystem::path database, html, grafana;
    std::string run = "latest";
  };
  auto options = std::make_shared<Options>();
  app.add_option("RUN", options->run, "run id, a unique prefix of one, or latest [latest]");
  add_database_option(app, options->database);
  app.add_option("--html", options->html, "folder for index.html")->option_text("DIR");
  app.add_option("--grafana", options->grafana, "write the Grafana dashboard (JSON, Grafana 10 or later)")->option_text("FILE");
  return [options] {
    if (options->html.empty() && options->grafana.empty())
      throw BadResult(Error{Code::kUsage, "report: say what to write: --html DIR or --grafana FILE"});
    if (!options->grafana.empty()) {
      if (const Status written = write_file(options->grafana, reports::grafana_dashboard_json()); !written) throw BadResult(written.error());
      fmt::print("{}\n", options->grafana.string());
    }
    if (!options->html.empty()) {
      const reports::RunSummary summary = reports::summarize(read_run(options->database, options->run).value());
      fmt::print("{}\n", reports::write_html_report(summary, options->html).value().string());
    }
    return 0;
  };
}

}  // namespace quantfleet::cli
