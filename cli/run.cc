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

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

namespace quantfleet::cli {
namespace {

// 2 where an input must be mended, 4 where the machine or a server must be seen to and the same command may then succeed; of units that
// failed for both reasons, 2: it will not go away.
int exit_code_of(const std::vector<Error>& errors) {
  const bool input = std::any_of(errors.begin(), errors.end(), [](const Error& error) { return exit_code(error.code) == exit_code(Code::kUsage); });
  return exit_code(input ? Code::kUsage : Code::kIo);
}

// What the run leaves unmeasured, in a sentence on stderr, and the exit code for it: 0 where no unit failed and some item was answered.
int judge(const LocalRunEnd& end, const reports::RunResults& results) {
  const std::string run = end.run.value;
  if (!end.failures.empty()) {
    fmt::print(stderr, "quantfleet: run {}: {} of {} units failed{}: {}\n", run, end.failures.size(), end.units, end.failures.size() > 1 ? "; the first" : "",
               end.failures.front().detail);
    return exit_code_of(end.failures);
  }
  const reports::Row* failed = nullptr;
  for (const reports::Row& row : results.rows) {
    if (!row.result.error) return 0;
    if (!failed) failed = &row;
  }
  if (!failed) {
    fmt::print(stderr, "quantfleet: run {} measured nothing{}\n", run, results.failures.empty() ? "" : ": " + results.failures.front());
    return exit_code(Code::kIo);
  }
  fmt::print(stderr, "quantfleet: run {}: no item was answered; the first error is of {} {}: {}\n", run, failed->suite, failed->result.item.value,
             failed->result.error->detail);
  return failed->engine == "native" ? exit_code_of({*failed->result.error}) : exit_code(Code::kUnreachable);
}

}  // namespace

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
  app.footer("What was measured is printed and stored in any case. Exit code 0: every unit is done or was not needed; 2: the plan, a file or an option is\n"
             "wrong, seen up front or in a unit; 4: units failed because of this machine or a server, or no item was answered: the same command may\n"
             "succeed later; 130: interrupted. Activations and the KV cache are the plan's (keys activations, kv), for they decide what is measured.");
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
    const reports::RunResults results = read_run(options->local.database, finished.run.value).value();
    const reports::RunSummary summary = reports::summarize(results);
    if (options->json) fmt::print("{}\n", reports::results_json(summary).dump(2));
    else fmt::print("{}", reports::terminal_table(summary, terminal_width()));
    return judge(finished, results);
  };
}

}  // namespace quantfleet::cli
