#include "cli/run_report.h"

#include "backends/formats/output_file.h"
#include "contract/twins.h"
#include "coordinator/scheduler/verdicts.h"
#include "coordinator/store/results_reader.h"
#include "reports/html/page.h"
#include "reports/tables/export.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace quantfleet::cli {
namespace {

std::string iso_8601(double seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

// The kind of activations that was used: the lease's provenance knows; until the lease has ended, the plan's word.
std::string used_activations(const UnitRow& unit, const LeaseRow& lease) {
  return lease.provenance.activations.empty() ? unit.activations : lease.provenance.activations;
}

std::string used_kv(const UnitRow& unit, const LeaseRow& lease) { return lease.provenance.kv.empty() ? unit.kv : lease.provenance.kv; }

reports::Row to_row(const quantfleet::RunResults& stored, const ResultRow& result) {
  const UnitRow& unit = stored.units[result.unit];
  const LeaseRow& lease = stored.leases[result.lease];
  reports::Row row;
  row.kind = unit.kind;
  row.device = lease.agent_name;
  row.model = unit.model;
  row.format = unit.format;
  row.activations = used_activations(unit, lease);
  row.kv = used_kv(unit, lease);
  row.suite = unit.suite;
  row.kernels = lease.provenance.kernels;
  row.model_sha256 = lease.provenance.model_sha256;
  row.lora = lease.provenance.lora;
  row.engine = lease.provenance.engine;
  row.suite_sha256 = lease.provenance.suite_sha256.empty() ? unit.suite_sha256 : lease.provenance.suite_sha256;
  row.program_version = lease.provenance.program_version;
  row.ran_alone = lease.provenance.ran_alone;
  row.result = result.item;
  return row;
}

double fact(const Artifact& artifact, const char* name) {
  const auto found = artifact.facts.find(name);
  return found == artifact.facts.end() ? 0 : found->second;
}

}  // namespace

void add_database_option(CLI::App& app, std::filesystem::path& database) {
  database = "results.db";
  app.add_option("--db", database, "results database [results.db]")->envname("QUANTFLEET_DB")->option_text("FILE");
}

Result<reports::RunResults> read_run(const std::filesystem::path& database, std::string_view run) {
  Result<std::unique_ptr<ResultsReader>> reader = open_results(database);
  if (!reader) return reader.error();
  Result<quantfleet::RunSummary> found = (*reader)->find_run(run);
  if (!found) return at(database.string(), found.error());
  Result<quantfleet::RunResults> read = (*reader)->read_run(found->id);
  if (!read) return at(database.string(), read.error());
  const quantfleet::RunResults& stored = *read;
  Result<JobSpec> plan = job_spec_from_json(stored.run.plan_json, database.string());
  if (!plan) return plan.error();

  reports::RunResults results;
  results.run = stored.run.id.value;
  results.name = stored.run.name;
  results.status = stored.run.status;
  results.created = iso_8601(stored.run.submitted_at);
  results.baseline = plan->baseline;
  results.baseline_kv = plan->kv.front();
  results.seed = plan->seed;
  results.formats = plan->formats;
  results.suites = stored.suites;
  for (const SuiteSpec& suite : plan->suites)
    if (suite.choice_seed) results.choice_seeds[suite.name] = suite.choice_seed;
  results.until = plan->until;
  results.unit_items = plan->limits.unit_items;
  results.every_device = std::holds_alternative<AccuracyEveryDevice>(plan->accuracy);
  for (const SuiteSpec& suite : plan->suites)
    for (const ChosenItem& item : suite.chosen) results.chosen[suite.name][item.index] = item.probability;
  for (const SuiteInfo& suite : stored.suites) {
    TwinName twin{suite.name, 0};
    read_twin_name(suite.name, twin);
    const auto spec = std::find_if(plan->suites.begin(), plan->suites.end(), [&](const SuiteSpec& s) { return s.name == twin.original; });
    results.items_of.push_back(spec != plan->suites.end() && spec->limit > 0 ? std::min(spec->limit, suite.items) : suite.items);
  }
  for (const DeviceRow& d : stored.devices) results.devices.push_back({d.name, d.device, d.labels});
  for (const ModelArtifact& m : stored.artifacts)
    results.files.push_back({m.model, m.format, m.artifact.sha256, m.artifact.size_bytes, fact(m.artifact, "bits_per_weight"),
                             fact(m.artifact, "seconds")});
  for (const ResultRow& row : stored.rows) results.rows.push_back(to_row(stored, row));
  for (const LeaseRow& lease : stored.leases) {
    for (const UnitRow& unit : stored.units) {
      if (unit.id != lease.unit) continue;
      for (const TelemetrySeries& series : lease.telemetry)
        results.telemetry.push_back(
            {lease.agent_name, unit.model, unit.format, used_activations(unit, lease), used_kv(unit, lease), unit.kind, series});
      break;
    }
  }
  for (const UnitRow& unit : stored.units) {
    if (unit.state == "failed" || (unit.state == "cancelled" && !unit.reason.empty() && !unit.reason.starts_with(coordinator::kDecided)))
      results.failures.push_back(fmt::format("{} {}: {}", unit.id.value, unit.state, unit.reason));
  }
  return results;
}

std::size_t terminal_width() {
  winsize size{};
  if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

Result<std::filesystem::path> write_run_files(const reports::RunSummary& summary, const std::filesystem::path& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed)
    return Error{Code::kPermission, fmt::format("{}: cannot create the folder: {}", directory.string(), failed.message())};
  if (const Status written = write_file(directory / "results.json", reports::summary_json(summary).dump(2) + "\n"); !written) return written.error();
  return reports::write_html_report(summary, directory / "report");
}

}  // namespace quantfleet::cli
