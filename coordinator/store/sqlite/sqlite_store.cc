// The coordinator's writes as guarded SQL: every change of a unit names the state and epoch it expects, and a statement
// that changes no row is a broken invariant, which rolls the whole decision back.
#include "contract/json_fields.h"
#include "coordinator/jobs/job.h"
#include "coordinator/store/sqlite/connection.h"
#include "coordinator/store/sqlite/schema.h"
#include "coordinator/store/store.h"

#include <fmt/format.h>

namespace quantfleet::coordinator {
namespace {

using sqlite::Connection;
using sqlite::Query;

std::uint64_t number_of(LeaseEpoch epoch) { return static_cast<std::uint64_t>(epoch); }

std::string json_of(const std::map<std::string, double>& values) {
  return fields_io::dump(fields_io::Json(values));
}

std::string json_of(const std::map<std::string, std::vector<float>>& values) {
  fields_io::Json json = fields_io::Json::object();
  fields_io::FieldWriter writer(json);
  writer.series_map("s", values, 0, 0);
  return json.contains("s") ? fields_io::dump(json["s"]) : "{}";
}

class SqliteStore : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<Connection> connection) : connection_(std::move(connection)), db_(*connection_) {}

  void apply(const std::vector<StoreWrite>& writes) override {
    if (writes.empty()) return;
    db_.execute("BEGIN IMMEDIATE");
    try {
      for (const StoreWrite& write : writes) std::visit([&](const auto& w) { apply_one(w); }, write);
      db_.execute("COMMIT");
    } catch (...) {
      try {
        db_.execute("ROLLBACK");
      } catch (const StoreFailure&) {  // SQLite has rolled back by itself
      }
      throw;
    }
  }

  Snapshot load() override {
    Snapshot snapshot;
    load_jobs(snapshot);
    load_units(snapshot);
    Query items = db_.query(
        "SELECT r.unit_id, r.item_id FROM results r JOIN units u ON u.unit_id = r.unit_id AND u.epoch = r.epoch "
        "WHERE u.state = 'leased'");
    while (items.next()) snapshot.items_in[UnitId{items.text(0)}].insert(items.text(1));
    for (const Job& job : snapshot.jobs) {
      if (!job.spec.until) continue;
      Query scores = db_.query(
          "SELECT r.unit_id, r.item_index, json_extract(r.scores, '$.accuracy') FROM results r JOIN units u ON u.unit_id = r.unit_id AND "
          "u.epoch = r.epoch WHERE u.run_id = ? AND u.kind = 'accuracy' AND u.state IN ('leased', 'done') AND r.error_code IS NULL AND "
          "json_extract(r.scores, '$.accuracy') IS NOT NULL");
      scores.bind(job.id.value);
      while (scores.next()) snapshot.scores[UnitId{scores.text(0)}][static_cast<int>(scores.integer(1))] = scores.number(2);
    }
    Query agents = db_.query("SELECT agent_id, registration FROM agents");
    while (agents.next()) {
      const Result<AgentMessage> message = decode_agent_message(agents.text(1));
      if (message)
        if (const auto* registration = std::get_if<Register>(&*message))
          snapshot.agents.emplace(AgentId{agents.text(0)}, *registration);
    }
    return snapshot;
  }

 private:
  static void expect_one(int changed, std::string_view what) {
    if (changed != 1) throw StoreFailure(Error{Code::kIo, fmt::format("invariant broken: {} changed {} rows", what, changed)});
  }

  void apply_one(const AgentRegistered& w) {
    db_.query(
           "INSERT INTO agents (agent_id, name, host_id, hostname, cpu_model, program_version, registration, last_seen_at) "
           "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent_id) DO UPDATE SET name = excluded.name, "
           "host_id = excluded.host_id, hostname = excluded.hostname, cpu_model = excluded.cpu_model, "
           "program_version = excluded.program_version, registration = excluded.registration, "
           "last_seen_at = excluded.last_seen_at")
        .bind(w.agent.value, w.registration.name, w.registration.device.host_id, w.registration.device.hostname,
              w.registration.device.cpu_model, w.registration.program_version, encode(AgentMessage{w.registration}), seconds_of(w.at))
        .run();
  }

  void apply_one(const AgentSeen& w) {
    db_.query("UPDATE agents SET last_seen_at = ?2 WHERE agent_id = ?1").bind(w.agent.value, seconds_of(w.at)).run();
  }

  void apply_one(const JobSubmitted& w) {
    db_.query("INSERT INTO runs (run_id, name, plan, plan_sha256, submitted_at) VALUES (?, ?, ?, ?, ?)")
        .bind(w.job.id.value, w.job.spec.name, canonical_json(w.job.spec), plan_sha256(w.job.spec), seconds_of(w.job.submitted_at))
        .run();
    int position = 0;
    for (const SuiteInfo& suite : w.job.suites) {
      db_.query("INSERT INTO run_suites VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
          .bind(w.job.id.value, position++, suite.name, suite.version, suite.sha256, suite.area, suite.kind, suite.items,
                suite.chance, suite.not_runnable, encode(suite.aggregation))
          .run();
    }
    for (const Unit& unit : w.units) insert_unit(unit, w.job.submitted_at);
  }

  void insert_unit(const Unit& unit, Time now) {
    const auto reason = reason_of(unit);
    const auto id_of = [](const std::optional<UnitId>& id) { return id ? std::optional<std::string>(id->value) : std::nullopt; };
    db_.query(
           "INSERT INTO units (unit_id, run_id, ordinal, kind, purpose, model, format, activations, kv, suite, suite_sha256, host_id, "
           "work, model_from, reference_from, items, attempts_max, lease_seconds, seed, state, epoch, attempts, queued_since, "
           "finished_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(unit.id.value, unit.job.value, unit.ordinal, kind_of(unit.work), unit.purpose, unit.model, unit.format,
              unit.activations, unit.kv, suite_of(unit.work), unit.suite_sha256, unit.host_id, encode(unit.work), id_of(unit.model_from),
              id_of(unit.reference_from), unit.items, unit.attempts_max, unit.lease_seconds, unit.seed, name_of(unit.state),
              number_of(unit.epoch), unit.attempts, seconds_of(unit.queued_since),
              is_final(unit.state) ? std::optional<double>(seconds_of(now)) : std::nullopt, reason)
        .run();
  }

  void apply_one(const JobCancelled& w) {
    expect_one(db_.query("UPDATE runs SET cancelled = 1 WHERE run_id = ?").bind(w.job.value).run(), "cancelling a run");
  }

  void apply_one(const LeaseGranted& w) {
    const int changed =
        db_.query("UPDATE units SET state = 'leased', agent_id = ?3, granted_at = ?4, expires_at = ?5, attempts = ?6 "
                  "WHERE unit_id = ?1 AND epoch = ?2 AND state = 'queued'")
            .bind(w.unit.id.value, number_of(w.unit.epoch), w.agent.value, seconds_of(w.granted_at), seconds_of(w.expires_at),
                  w.unit.attempts)
            .run();
    expect_one(changed, "granting " + w.unit.id.value);
    db_.query("INSERT INTO leases (unit_id, epoch, agent_id, host_id, granted_at) VALUES (?, ?, ?, ?, ?)")
        .bind(w.unit.id.value, number_of(w.unit.epoch), w.agent.value, w.host_id, seconds_of(w.granted_at))
        .run();
  }

  void apply_one(const LeaseRenewed& w) {
    const int changed = db_.query("UPDATE units SET expires_at = ?3 WHERE unit_id = ?1 AND epoch = ?2 AND state = 'leased'")
                            .bind(w.unit.value, number_of(w.epoch), seconds_of(w.expires_at))
                            .run();
    expect_one(changed, "renewing " + w.unit.value);
  }

  void apply_one(const UnitChanged& w) {
    const Unit& unit = w.unit;
    if (is<Done>(unit.state) && !unit.artifact.sha256.empty()) {
      db_.query("INSERT INTO artifacts (sha256, size_bytes, kind, facts, created_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (sha256) DO NOTHING")
          .bind(unit.artifact.sha256, unit.artifact.size_bytes, unit.artifact.kind, json_of(unit.artifact.facts), seconds_of(w.at))
          .run();
    }
    if (w.ended_epoch) {
      const int ended =
          db_.query("UPDATE leases SET ended_at = ?3, outcome = ?4, provenance = ?5 WHERE unit_id = ?1 AND epoch = ?2 AND outcome = ''")
              .bind(unit.id.value, number_of(*w.ended_epoch), seconds_of(w.at), w.outcome,
                    w.provenance == Provenance{} ? std::string() : encode(w.provenance))
              .run();
      expect_one(ended, "ending the lease of " + unit.id.value);
      for (const TelemetrySeries& s : w.telemetry) {
        db_.query("INSERT INTO telemetry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(unit.id.value, number_of(*w.ended_epoch), s.name, s.source, s.coverage, s.mean, s.min, s.max, s.total, s.reason)
            .run();
      }
    }
    const std::optional<std::string> artifact =
        is<Done>(unit.state) && !unit.artifact.sha256.empty() ? std::optional(unit.artifact.sha256) : std::nullopt;
    std::optional<double> finished;
    if (is_final(unit.state)) finished.emplace(seconds_of(w.at));
    // With a lease: only that lease may end so. Without: only from blocked or queued.
    const char* guarded = w.ended_epoch ? "UPDATE units SET state = ?3, epoch = ?4, attempts = ?5, refusals = ?6, queued_since = ?7, "
                                          "finished_at = ?8, reason = ?9, artifact = ?10, agent_id = NULL, granted_at = NULL, "
                                          "expires_at = NULL WHERE unit_id = ?1 AND epoch = ?2 AND state = 'leased'"
                                        : "UPDATE units SET state = ?3, epoch = ?4, attempts = ?5, refusals = ?6, queued_since = ?7, "
                                          "finished_at = ?8, reason = ?9, artifact = ?10 "
                                          "WHERE unit_id = ?1 AND epoch = ?2 AND state IN ('blocked', 'queued')";
    const int changed = db_.query(guarded)
                            .bind(unit.id.value, number_of(w.ended_epoch ? *w.ended_epoch : unit.epoch), name_of(unit.state),
                                  number_of(unit.epoch), unit.attempts, unit.refusals, seconds_of(unit.queued_since), finished,
                                  reason_of(unit), artifact)
                            .run();
    expect_one(changed, fmt::format("moving {} to {}", unit.id.value, name_of(unit.state)));
  }

  // An earlier epoch's rows are replaced; rows of an older epoch never overwrite newer ones.
  void apply_one(const RowsStored& w) {
    for (const ItemResult& row : w.rows) {
      std::optional<std::string> code, detail;
      if (row.error) {
        code = std::string(name_of(row.error->code));
        detail = row.error->detail;
      }
      std::optional<std::string> prompt;
      if (!row.prompt.empty() || !row.prompt_token_ids.empty()) {
        const std::string ids = nlohmann::json(row.prompt_token_ids).dump();
        prompt = sha256_hex(row.prompt + '\n' + ids);
        Query kept = db_.query("INSERT INTO prompts (sha256, token_ids, text) VALUES (?, ?, ?) ON CONFLICT DO NOTHING");
        kept.bind(*prompt, ids);
        kept.bind_blob(row.prompt).run();
      }
      Query query = db_.query(
          "INSERT INTO results (unit_id, item_id, item_index, epoch, scores, series, prompt_tokens, generated_tokens, "
          "first_token_ms, total_ms, logits_digest, error_code, error_detail, item_group, prompt, request_sha256, output, response) "
          "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
          "ON CONFLICT (unit_id, item_id) DO UPDATE SET item_index = excluded.item_index, epoch = excluded.epoch, "
          "scores = excluded.scores, series = excluded.series, prompt_tokens = excluded.prompt_tokens, "
          "generated_tokens = excluded.generated_tokens, first_token_ms = excluded.first_token_ms, total_ms = excluded.total_ms, "
          "logits_digest = excluded.logits_digest, error_code = excluded.error_code, error_detail = excluded.error_detail, "
          "item_group = excluded.item_group, prompt = excluded.prompt, request_sha256 = excluded.request_sha256, response = excluded.response, output = excluded.output WHERE excluded.epoch >= results.epoch");
      query.bind(w.unit.value, row.item.value, row.index, number_of(w.epoch), json_of(row.scores), json_of(row.series),
                 row.prompt_tokens, row.generated_tokens, row.first_token_ms, row.total_ms, row.logits_digest, code, detail, row.group, prompt,
                 row.request_sha256);
      query.bind_blob(row.output);
      query.bind_blob(row.response).run();
    }
  }

  static std::string reason_of(const Unit& unit) {
    if (const auto* failed = std::get_if<Failed>(&unit.state)) return failed->reason;
    if (const auto* cancelled = std::get_if<Cancelled>(&unit.state)) return cancelled->reason;
    return {};
  }

  void load_jobs(Snapshot& snapshot) {
    Query runs = db_.query(
        "SELECT run_id, plan, submitted_at, cancelled FROM runs r WHERE EXISTS (SELECT 1 FROM units u WHERE u.run_id = r.run_id "
        "AND u.state IN ('blocked', 'queued', 'leased'))");
    while (runs.next()) {
      Result<JobSpec> spec = job_spec_from_json(runs.text(1), "run " + runs.text(0));
      if (!spec) throw StoreFailure(spec.error());
      Job& job = snapshot.jobs.emplace_back(Job{{runs.text(0)}, *spec, time_of(runs.number(2)), runs.integer(3) != 0, {}});
      Query suites = db_.query("SELECT name, version, sha256, area, kind, items, chance, not_runnable, aggregation FROM run_suites WHERE run_id = ? ORDER BY position");
      suites.bind(job.id.value);
      while (suites.next()) {
        auto aggregation = decode_aggregations(suites.text(8));
        if (!aggregation) throw StoreFailure(at("run " + job.id.value, aggregation.error()));
        job.suites.push_back({suites.text(0), suites.text(1), suites.text(2), suites.text(3), suites.text(4), static_cast<int>(suites.integer(5)),
                              suites.number(6), suites.text(7), std::move(*aggregation)});
      }
    }
  }

  void load_units(Snapshot& snapshot) {
    for (const Job& job : snapshot.jobs) {
      Query q = db_.query(
          "SELECT unit_id, ordinal, purpose, model, format, activations, suite_sha256, host_id, work, model_from, reference_from, "
          "items, attempts_max, lease_seconds, seed, state, epoch, attempts, refusals, agent_id, granted_at, expires_at, "
          "queued_since, reason, u.artifact, a.size_bytes, a.kind, a.facts, (SELECT l.host_id FROM leases l WHERE "
          "l.unit_id = u.unit_id AND l.epoch = u.epoch), u.kv FROM units u LEFT JOIN artifacts a ON a.sha256 = u.artifact "
          "WHERE u.run_id = ? ORDER BY ordinal");
      q.bind(job.id.value);
      while (q.next()) snapshot.units.push_back(unit_of(q, job.id));
    }
  }

  static Unit unit_of(const Query& q, const JobId& job) {
    Unit unit;
    unit.id = {q.text(0)};
    unit.job = job;
    unit.ordinal = static_cast<int>(q.integer(1));
    unit.purpose = q.text(2);
    unit.model = q.text(3);
    unit.format = q.text(4);
    unit.activations = q.text(5);
    unit.kv = q.text(29);
    unit.suite_sha256 = q.text(6);
    unit.host_id = q.text(7);
    Result<Work> work = decode_work(q.text(8));
    if (!work) throw StoreFailure(at("unit " + unit.id.value, work.error()));
    unit.work = std::move(*work);
    if (!q.is_null(9)) unit.model_from = UnitId{q.text(9)};
    if (!q.is_null(10)) unit.reference_from = UnitId{q.text(10)};
    unit.items = static_cast<int>(q.integer(11));
    unit.attempts_max = static_cast<int>(q.integer(12));
    unit.lease_seconds = q.number(13);
    unit.seed = static_cast<std::uint64_t>(q.integer(14));
    unit.epoch = LeaseEpoch{static_cast<std::uint64_t>(q.integer(16))};
    unit.attempts = static_cast<int>(q.integer(17));
    unit.refusals = static_cast<int>(q.integer(18));
    unit.queued_since = time_of(q.number(22));
    const std::string state = q.text(15);
    if (state == "blocked") unit.state = Blocked{};
    else if (state == "queued") unit.state = Queued{};
    else if (state == "leased") unit.state = Leased{{q.text(19)}, q.text(28), time_of(q.number(20)), time_of(q.number(21))};
    else if (state == "done") unit.state = Done{};
    else if (state == "failed") unit.state = Failed{q.text(23)};
    else unit.state = Cancelled{q.text(23)};
    if (!q.is_null(24)) {
      unit.artifact = {q.text(24), static_cast<std::uint64_t>(q.integer(25)), q.text(26), {}};
      const fields_io::Json facts = fields_io::Json::parse(q.text(27), nullptr, false);
      for (const auto& [name, value] : facts.items())
        if (value.is_number()) unit.artifact.facts[name] = value.get<double>();
    }
    return unit;
  }

  std::unique_ptr<Connection> connection_;
  Connection& db_;
};

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite_store(const std::filesystem::path& database, bool durable) {
  auto connection = Connection::open(database.string(), false);
  if (!connection) return connection.error();
  try {
    (*connection)->execute("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON");
    (*connection)->execute(durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
    if (const Status status = sqlite::migrate(**connection); !status) return at(database.string(), status.error());
  } catch (const StoreFailure& failure) {
    return failure.error;
  }
  return std::unique_ptr<Store>(new SqliteStore(std::move(*connection)));
}

}  // namespace quantfleet::coordinator
