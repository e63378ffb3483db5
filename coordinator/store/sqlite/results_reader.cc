#include "coordinator/store/results_reader.h"

#include "contract/json_fields.h"
#include "coordinator/jobs/job.h"
#include "coordinator/store/sqlite/connection.h"
#include "coordinator/store/sqlite/schema.h"
#include "coordinator/store/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quantfleet {
namespace {

using coordinator::StoreFailure;
using coordinator::sqlite::Connection;
using coordinator::sqlite::Query;
using fields_io::Json;

std::map<std::string, double> numbers_of(const std::string& text) {
  std::map<std::string, double> numbers;
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_object())
    for (const auto& [name, value] : json.items())
      if (value.is_number()) numbers[name] = value.get<double>();
  return numbers;
}

std::map<std::string, std::vector<float>> series_of(const std::string& text) {
  std::map<std::string, std::vector<float>> series;
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return series;
  for (const auto& [name, values] : json.items())
    for (const Json& value : values)
      series[name].push_back(value.is_number() ? value.get<float>() : std::numeric_limits<float>::quiet_NaN());
  return series;
}

class SqliteReader : public ResultsReader {
 public:
  explicit SqliteReader(std::unique_ptr<Connection> connection) : connection_(std::move(connection)), db_(*connection_) {}

  Result<std::vector<RunSummary>> runs() override {
    return guarded<std::vector<RunSummary>>([&] {
      std::vector<RunSummary> list;
      Query q = db_.query("SELECT run_id, name, plan, plan_sha256, submitted_at, cancelled FROM runs ORDER BY submitted_at DESC, run_id");
      while (q.next()) list.push_back(summary_of(q));
      return list;
    });
  }

  Result<RunSummary> find_run(std::string_view name) override {
    const Result<std::vector<RunSummary>> all = runs();
    if (!all) return all.error();
    if (all->empty()) return Error{Code::kUnknownName, "the database has no run yet"};
    if (name == "latest") return all->front();
    const RunSummary* found = nullptr;
    for (const RunSummary& run : *all) {
      if (run.id.value == name) return run;
      if (!std::string_view(run.id.value).starts_with(name) || name.empty()) continue;
      if (found) return Error{Code::kUnknownName, fmt::format("several runs begin with \"{}\": {}, {}", name, found->id.value, run.id.value)};
      found = &run;
    }
    if (!found) return Error{Code::kUnknownName, fmt::format("no run is called \"{}\"; the latest is {}", name, all->front().id.value)};
    return *found;
  }

  Result<RunResults> read_run(const JobId& run) override { return read(run, true); }
  Result<RunResults> read_progress(const JobId& run) override { return read(run, false); }

  Result<RunResults> read(const JobId& run, bool with_rows) {
    const Result<RunSummary> summary = find_run(run.value);
    if (!summary) return summary.error();
    return guarded<RunResults>([&] {
      db_.execute("BEGIN");  // one consistent picture, also while a coordinator writes
      RunResults results;
      try {
        results.run = *summary;
        read_frame(results);
        if (with_rows) read_rows(results);
        db_.execute("COMMIT");
      } catch (...) {
        db_.execute("ROLLBACK");
        throw;
      }
      return results;
    });
  }

  Result<std::vector<DeviceRow>> devices() override {
    return guarded<std::vector<DeviceRow>>([&] {
      std::vector<DeviceRow> list;
      Query q = db_.query("SELECT agent_id, registration, last_seen_at FROM agents ORDER BY last_seen_at DESC, name");
      while (q.next()) list.push_back(device_of(q));
      return list;
    });
  }

  Result<std::vector<ItemFlips>> item_flips(std::string_view suite, std::string_view suite_sha256, const std::vector<std::string>& left_out,
                                            double now) override {
    return guarded<std::vector<ItemFlips>>([&] {
      // Marks of the measured (not spot-checked) items; the candidate's joined with the baseline's of the same run, model, kind and machine.
      Query q = db_.query(
          "WITH marks AS (SELECT u.run_id, u.model, u.format, u.activations, u.host_id, json_extract(u.work, '$.model_sha256') AS file, "
          "r.item_id, r.item_index, json_extract(r.scores, '$.accuracy') AS accuracy, json_extract(runs.plan, '$.baseline') AS baseline, "
          "u.kv, COALESCE(json_extract(runs.plan, '$.kv[0]'), 'f32') AS baseline_kv, runs.submitted_at "
          "FROM units u JOIN results r ON r.unit_id = u.unit_id AND r.epoch = u.epoch JOIN runs ON runs.run_id = u.run_id "
          "WHERE u.kind = 'accuracy' AND u.purpose = 'measure' AND u.state = 'done' AND u.suite = ?1 AND u.suite_sha256 = ?2 "
          "AND r.error_code IS NULL) "
          "SELECT c.item_index, c.item_id, c.file, c.submitted_at, c.accuracy <> b.accuracy FROM marks c JOIN marks b ON b.run_id = c.run_id AND "
          "b.model = c.model AND b.activations = c.activations AND b.host_id = c.host_id AND b.item_id = c.item_id AND b.format = c.baseline "
          "AND b.kv = c.baseline_kv "
          "WHERE (c.format <> c.baseline OR c.kv <> c.baseline_kv) AND c.accuracy IS NOT NULL AND b.accuracy IS NOT NULL ORDER BY c.item_index");
      q.bind(suite, suite_sha256);
      constexpr double kDay = 86'400;
      std::vector<ItemFlips> flips;
      while (q.next()) {
        const bool same_night = now > 0 && std::floor(q.number(3) / kDay) == std::floor(now / kDay);
        if (same_night && std::find(left_out.begin(), left_out.end(), q.text(2)) != left_out.end()) continue;
        const int index = static_cast<int>(q.integer(0));
        if (flips.empty() || flips.back().index != index) flips.push_back({index, q.text(1), 0, 0});
        ++flips.back().comparisons;
        flips.back().flips += q.integer(4) != 0;
      }
      return flips;
    });
  }

 private:
  template <class T, class Body>
  Result<T> guarded(const Body& body) {
    try {
      return body();
    } catch (const StoreFailure& failure) {
      return failure.error;
    }
  }

  RunSummary summary_of(const Query& q) {
    RunSummary run;
    run.id = {q.text(0)};
    run.name = q.text(1);
    run.plan_json = q.text(2);
    run.plan_sha256 = q.text(3);
    run.submitted_at = q.number(4);
    Query units = db_.query("SELECT state, count(*), max(finished_at) FROM units WHERE run_id = ? GROUP BY state");
    units.bind(run.id.value);
    while (units.next()) {
      run.units_by_state[units.text(0)] = static_cast<int>(units.integer(1));
      run.finished_at = std::max(run.finished_at, units.number(2));
    }
    run.status = coordinator::status_of(run.units_by_state, q.integer(5) != 0);
    if (run.status == "running" || run.status == "waiting") run.finished_at = 0;
    return run;
  }

  static DeviceRow device_of(const Query& q) {
    DeviceRow device;
    device.agent = {q.text(0)};
    device.last_seen_at = q.number(2);
    if (const Result<AgentMessage> message = decode_agent_message(q.text(1)))
      if (const auto* registration = std::get_if<Register>(&*message)) {
        device.name = registration->name;
        device.labels = registration->labels;
        device.program_version = registration->program_version;
        device.device = registration->device;
        device.selftest = registration->selftest;
      }
    return device;
  }

  void read_frame(RunResults& results) {
    const std::string& run = results.run.id.value;
    Query devices = db_.query(
        "SELECT agent_id, registration, last_seen_at FROM agents WHERE agent_id IN (SELECT l.agent_id FROM leases l JOIN units u "
        "USING (unit_id) WHERE u.run_id = ?) ORDER BY name, agent_id");
    devices.bind(run);
    while (devices.next()) results.devices.push_back(device_of(devices));

    Query suites = db_.query(
        "SELECT name, version, sha256, area, kind, items, chance, not_runnable, aggregation FROM run_suites WHERE run_id = ? ORDER BY position");
    suites.bind(run);
    while (suites.next()) {
      results.suites.push_back({suites.text(0), suites.text(1), suites.text(2), suites.text(3), suites.text(4),
                                static_cast<int>(suites.integer(5)), suites.number(6), suites.text(7), {}});
      if (auto aggregation = decode_aggregations(suites.text(8))) results.suites.back().aggregation = std::move(*aggregation);
    }

    Query units = db_.query(
        "SELECT unit_id, kind, purpose, state, model, format, activations, suite, suite_sha256, host_id, items, attempts, reason, "
        "artifact, finished_at, (SELECT count(*) FROM results r WHERE r.unit_id = u.unit_id), kv FROM units u WHERE run_id = ? "
        "ORDER BY ordinal");
    units.bind(run);
    while (units.next()) {
      UnitRow& unit = results.units.emplace_back();
      unit.id = {units.text(0)};
      unit.kind = units.text(1);
      unit.purpose = units.text(2);
      unit.state = units.text(3);
      unit.model = units.text(4);
      unit.format = units.text(5);
      unit.activations = units.text(6);
      unit.suite = units.text(7);
      unit.suite_sha256 = units.text(8);
      unit.host_id = units.text(9);
      unit.items = static_cast<int>(units.integer(10));
      unit.attempts = static_cast<int>(units.integer(11));
      unit.reason = units.text(12);
      unit.artifact_sha256 = units.text(13);
      unit.finished_at = units.number(14);
      unit.rows = static_cast<int>(units.integer(15));
      unit.kv = units.text(16);
    }

    Query artifacts = db_.query(
        "SELECT u.model, u.format, a.sha256, a.size_bytes, a.kind, a.facts FROM units u JOIN artifacts a ON a.sha256 = u.artifact "
        "WHERE u.run_id = ? AND u.kind = 'quantize' ORDER BY u.ordinal");
    artifacts.bind(run);
    while (artifacts.next()) {
      results.artifacts.push_back({artifacts.text(0), artifacts.text(1),
                                   {artifacts.text(2), static_cast<std::uint64_t>(artifacts.integer(3)), artifacts.text(4),
                                    numbers_of(artifacts.text(5))}});
    }
    order_artifacts(results);
  }

  void read_rows(RunResults& results) {
    const std::string& run = results.run.id.value;
    std::map<std::string, std::size_t> unit_index;
    for (std::size_t i = 0; i < results.units.size(); ++i) unit_index.emplace(results.units[i].id.value, i);
    std::map<std::pair<std::string, std::int64_t>, std::size_t> lease_index;
    Query leases = db_.query(
        "SELECT l.unit_id, l.epoch, l.agent_id, a.name, l.host_id, l.granted_at, l.ended_at, l.outcome, l.provenance FROM leases l "
        "JOIN agents a USING (agent_id) JOIN units u USING (unit_id) WHERE u.run_id = ? ORDER BY u.ordinal, l.epoch");
    leases.bind(run);
    while (leases.next()) {
      LeaseRow& lease = results.leases.emplace_back();
      lease_index.emplace(std::pair(leases.text(0), leases.integer(1)), results.leases.size() - 1);
      lease.unit = {leases.text(0)};
      lease.epoch = LeaseEpoch{static_cast<std::uint64_t>(leases.integer(1))};
      lease.agent = {leases.text(2)};
      lease.agent_name = leases.text(3);
      lease.host_id = leases.text(4);
      lease.granted_at = leases.number(5);
      lease.ended_at = leases.number(6);
      lease.outcome = leases.text(7);
      if (const std::string text = leases.text(8); !text.empty())
        if (const Result<Provenance> provenance = decode_provenance(text)) lease.provenance = *provenance;
    }

    Query telemetry = db_.query(
        "SELECT t.unit_id, t.epoch, t.name, t.source, t.coverage, t.mean, t.min, t.max, t.total, t.reason FROM telemetry t "
        "JOIN units u USING (unit_id) WHERE u.run_id = ? ORDER BY t.name, t.source");
    telemetry.bind(run);
    while (telemetry.next()) {
      const auto lease = lease_index.find(std::pair(telemetry.text(0), telemetry.integer(1)));
      if (lease == lease_index.end()) continue;
      results.leases[lease->second].telemetry.push_back({telemetry.text(2), telemetry.text(3), telemetry.number(4), telemetry.number(5),
                                                         telemetry.number(6), telemetry.number(7), telemetry.number(8), telemetry.text(9)});
    }

    Query rows = db_.query(
        "SELECT r.unit_id, r.epoch, r.item_id, r.item_index, r.scores, r.series, r.prompt_tokens, r.generated_tokens, "
        "r.first_token_ms, r.total_ms, r.output, r.logits_digest, r.error_code, r.error_detail, r.item_group, r.response, r.request_sha256 "
        "FROM results r JOIN units u USING (unit_id) WHERE u.run_id = ? ORDER BY u.ordinal, r.item_index, r.item_id");
    rows.bind(run);
    while (rows.next()) {
      ResultRow& row = results.rows.emplace_back();
      row.unit = unit_index.at(rows.text(0));
      row.lease = lease_index.at(std::pair(rows.text(0), rows.integer(1)));
      row.item.item = {rows.text(2)};
      row.item.index = static_cast<int>(rows.integer(3));
      row.item.scores = numbers_of(rows.text(4));
      row.item.series = series_of(rows.text(5));
      row.item.prompt_tokens = static_cast<int>(rows.integer(6));
      row.item.generated_tokens = static_cast<int>(rows.integer(7));
      row.item.first_token_ms = rows.number(8);
      row.item.total_ms = rows.number(9);
      row.item.output = rows.text(10);
      row.item.logits_digest = rows.text(11);
      if (!rows.is_null(12)) {
        Code code = Code::kIo;
        code_from_name(rows.text(12), code);
        row.item.error = Error{code, rows.text(13)};
      }
      row.item.group = rows.text(14);
      row.item.response = rows.text(15);
      row.item.request_sha256 = rows.text(16);
    }
  }

  static void order_artifacts(RunResults& results) {
    const Result<JobSpec> plan = job_spec_from_json(results.run.plan_json, "plan");
    if (!plan) return;
    const auto position = [&](const ModelArtifact& artifact) {
      const auto model = std::find_if(plan->models.begin(), plan->models.end(), [&](const ModelSpec& m) { return m.name == artifact.model; });
      const auto format = std::find(plan->formats.begin(), plan->formats.end(), artifact.format);
      return std::pair(model - plan->models.begin(), format - plan->formats.begin());
    };
    std::stable_sort(results.artifacts.begin(), results.artifacts.end(),
                     [&](const ModelArtifact& a, const ModelArtifact& b) { return position(a) < position(b); });
  }

  std::unique_ptr<Connection> connection_;
  Connection& db_;
};

}  // namespace

Result<std::unique_ptr<ResultsReader>> open_results(const std::filesystem::path& database) {
  std::error_code ignored;
  if (!std::filesystem::exists(database, ignored))
    return Error{Code::kNotFound, fmt::format("{}: no such results database", database.string())};
  auto connection = Connection::open(database.string(), true);
  if (!connection) return connection.error();
  try {
    const Result<int> version = coordinator::sqlite::schema_version(**connection);
    if (!version) return at(database.string(), version.error());
    if (*version < coordinator::sqlite::kSchemaVersion) {  // an older program's: a copy is upgraded, the file stays as it is
      connection = (*connection)->copy();
      if (!connection) return connection.error();
      if (const Status status = coordinator::sqlite::migrate(**connection); !status) return at(database.string(), status.error());
    }
  } catch (const StoreFailure& failure) {
    return failure.error;
  }
  return std::unique_ptr<ResultsReader>(new SqliteReader(std::move(*connection)));
}

}  // namespace quantfleet
