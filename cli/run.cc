// quantfleet run: a plan from start to report inside one process.
#include "agent/command_line.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/local_run.h"
#include "cli/plan_file.h"
#include "cli/run_report.h"
#include "coordinator/store/store.h"
#include "reports/tables/export.h"
#include "reports/tables/terminal.h"

#include <fmt/format.h>

#include <memory>
#include <optional>

namespace quantfleet::cli {

std::function<int()> add_run(CLI::App& app) {
  struct Options {
    std::filesystem::path plan;
    LocalRunOptions local;
    std::vector<std::string> engines;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  options->local.suites_root = agent::default_suites_root();
  app.add_option("PLAN", options->plan, "what to measure: a YAML file (plans/demo.yaml is an example)")->required();
  add_database_option(app, options->local.database);
  app.add_option("--artifacts", options->local.artifacts, "directory for models and logits [artifacts beside the database]");
  app.add_option("--suites", options->local.suites_root, "directory of the suites")->capture_default_str();
  app.add_option("--threads", options->local.threads, "threads; 0 = all cores [0]")->check(CLI::Range(0, 1024));
  app.add_option("--kernels", options->local.kernels, "kernel family instead of the CPU's best: scalar, avx2, avx512_vnni, neon, neon_dotprod")
      ->envname("QUANTFLEET_KERNELS");
  app.add_option("--engine", options->engines, "NAME=KIND@URL: an inference server that the plan asks for by this name (docs/external-engines.md)")
      ->take_all()->allow_extra_args(false);
  app.add_flag("--json", options->json, "the results as one JSON document instead of the table");
  return [options] {
    const JobSpec spec = read_plan(options->plan).value();
    options->local.engines = agent::read_engines(options->engines).value();
    catch_interrupts();
    std::optional<LiveProgress> progress;
    Result<LocalRunEnd> end = Error{};
    try {
      end = run_locally(spec, options->local,
                        [&](const JobId& run, const RunCounts& counts) {
                          if (!progress) progress.emplace(run.value);
                          progress->update(counts);
                        },
                        interrupted);
    } catch (const coordinator::StoreFailure& failure) {
      end = failure.error;
    }
    if (progress) progress->erase();
    const LocalRunEnd& finished = end.value();
    if (finished.interrupted) {
      fmt::print(stderr, "quantfleet: interrupted; the same command goes on with run {}\n", finished.run.value);
      return exit_code(Code::kInterrupted);
    }
    const reports::RunSummary summary = reports::summarize(read_run(options->local.database, finished.run.value).value());
    if (options->json) fmt::print("{}\n", reports::results_json(summary).dump(2));
    else fmt::print("{}", reports::terminal_table(summary, terminal_width()));
    return finished.status == "failed" ? 1 : 0;
  };
}

}  // namespace quantfleet::cli
