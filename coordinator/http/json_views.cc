#include "coordinator/http/json_views.h"

#include <algorithm>
#include <array>

namespace quantfleet::coordinator {
namespace {

constexpr std::array kKinds = {"quantize", "reference_logits", "accuracy", "timing"};
constexpr std::array kStates = {"blocked", "queued", "leased", "done", "failed", "cancelled"};

Json nullable(double value) { return value > 0 ? Json(value) : Json(nullptr); }

// How much of a unit's work is done, in items; a quantize or reference unit counts as a few items.
double weight_of(const UnitRow& unit) { return unit.items > 0 ? unit.items : 10; }

}  // namespace

Json json_of(const RunSummary& run) {
  Json units = Json::object();
  for (const char* state : kStates) {
    const auto found = run.units_by_state.find(state);
    units[state] = found == run.units_by_state.end() ? 0 : found->second;
  }
  return {{"id", run.id.value},
          {"name", run.name},
          {"status", run.status},
          {"submitted_at", run.submitted_at},
          {"finished_at", nullable(run.finished_at)},
          {"plan_sha256", run.plan_sha256},
          {"units", std::move(units)}};
}

Json progress_json(const RunResults& run, double now) {
  Json json = json_of(run.run);
  json["plan"] = Json::parse(run.run.plan_json, nullptr, false);
  Json progress = Json::array();
  double done = 0, total = 0;
  for (const char* kind : kKinds) {
    Json entry{{"kind", kind}, {"units", 0}, {"items", 0}, {"rows", 0}};
    for (const char* state : kStates) entry[state] = 0;
    for (const UnitRow& unit : run.units) {
      if (unit.kind != kind) continue;
      entry["units"] = entry["units"].get<int>() + 1;
      entry["items"] = entry["items"].get<int>() + unit.items;
      entry["rows"] = entry["rows"].get<int>() + unit.rows;
      entry[unit.state] = entry[unit.state].get<int>() + 1;
      const bool final = unit.state == "done" || unit.state == "failed" || unit.state == "cancelled";
      total += weight_of(unit);
      done += final ? weight_of(unit) : std::min<double>(unit.rows, weight_of(unit));
    }
    if (entry["units"] != 0) progress.push_back(std::move(entry));
  }
  const double share = total > 0 ? done / total : 0;
  const bool open = run.run.status == "running" || run.run.status == "waiting";
  json["progress"] = std::move(progress);
  json["done_ratio"] = open ? share : 1.0;
  json["eta_seconds"] = open && share > 0.02 ? Json((now - run.run.submitted_at) * (1 - share) / share) : Json(nullptr);
  Json problems = Json::array();
  for (const UnitRow& unit : run.units)
    if (!unit.reason.empty() && !unit.reason.starts_with(coordinator::kDecided) && problems.size() < 200)
      problems.push_back({{"unit", unit.id.value}, {"state", unit.state}, {"reason", unit.reason}});
  json["problems"] = std::move(problems);
  Json suites = Json::array();
  for (const SuiteInfo& suite : run.suites) {
    Json aggregation = Json::object();
    for (const Aggregation& one : suite.aggregation) aggregation[one.number] = one.function;
    suites.push_back({{"name", suite.name}, {"version", suite.version}, {"sha256", suite.sha256}, {"area", suite.area},
                      {"kind", suite.kind}, {"items", suite.items}, {"chance", suite.chance}, {"not_runnable", suite.not_runnable},
                      {"aggregation", std::move(aggregation)}});
  }
  json["suites"] = std::move(suites);
  return json;
}

Json results_json(const RunResults& run) {
  Json rows = Json::array();
  for (const ResultRow& row : run.rows) {
    const UnitRow& unit = run.units[row.unit];
    const LeaseRow& lease = run.leases[row.lease];
    Json entry{{"unit", unit.id.value},
               {"kind", unit.kind},
               {"purpose", unit.purpose},
               {"model", unit.model},
               {"format", unit.format},
               {"activations", unit.activations},
               {"kv", unit.kv},
               {"suite", unit.suite},
               {"agent", lease.agent_name},
               {"host_id", lease.host_id},
               {"epoch", static_cast<std::uint64_t>(lease.epoch)},
               {"item", row.item.item.value},
               {"index", row.item.index},
               {"scores", row.item.scores},
               {"prompt_tokens", row.item.prompt_tokens},
               {"generated_tokens", row.item.generated_tokens},
               {"first_token_ms", nullable(row.item.first_token_ms)},  // servers do not say when
               {"total_ms", row.item.total_ms},
               {"output", row.item.output},
               {"group", row.item.group},
               {"request_sha256", row.item.request_sha256},
               {"logits_digest", row.item.logits_digest},
               {"model_sha256", lease.provenance.model_sha256},
               {"kernels", lease.provenance.kernels},
               {"program_version", lease.provenance.program_version},
               {"error", nullptr}};
    if (row.item.error) entry["error"] = {{"code", name_of(row.item.error->code)}, {"detail", row.item.error->detail}};
    rows.push_back(std::move(entry));
  }
  return {{"run", run.run.id.value}, {"status", run.run.status}, {"rows", std::move(rows)}};
}

Json json_of(const AgentStatus& agent) {
  const Device& device = agent.registration.device;
  Json gpus = Json::array();
  for (const Gpu& gpu : device.gpus) gpus.push_back({{"name", gpu.name}, {"memory_bytes", gpu.memory_bytes}});
  Json json{{"agent", agent.id.value},
            {"name", agent.registration.name},
            {"state", agent.state},
            {"labels", agent.registration.labels},
            {"program_version", agent.registration.program_version},
            {"last_seen_at", nullable(seconds_of(agent.last_seen))},
            {"host_id", device.host_id},
            {"hostname", device.hostname},
            {"architecture", device.architecture},
            {"cpu_model", device.cpu_model},
            {"cores", device.cores},
            {"memory_bytes", device.memory_bytes},
            {"kernels", device.kernels},
            {"gpus", std::move(gpus)},
            {"operating_system", device.operating_system},
            {"selftest", agent.registration.selftest},
            {"running", nullptr}};
  if (agent.running) json["running"] = {{"unit", agent.running->unit.value}, {"items_done", agent.running->items_done}};
  return json;
}

}  // namespace quantfleet::coordinator
