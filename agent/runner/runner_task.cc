#include "agent/runner/runner_task.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace quantfleet::agent {
namespace {

using Json = nlohmann::json;

Error bad(std::string_view what) { return {Code::kBadValue, fmt::format("runner: {}", what)}; }

}  // namespace

std::filesystem::path folders_beside(const std::filesystem::path& output) { return output.string() + ".folders"; }

std::string encode(const RunnerTask& task) {
  Json json = {{"lease", quantfleet::encode(task.lease)},
                     {"model", task.model.string()},
                     {"reference_logits", task.reference_logits.string()},
                     {"text", task.text.string()},
                     {"imatrix", task.imatrix.string()},
                     {"output", task.output.string()},
                     {"suites_root", task.suites_root.string()},
                     {"suite_bundle", task.suite_bundle.string()},
                     {"host_lock", task.host_lock.string()},
                     {"kernels", task.kernels},
                     {"threads", task.threads},
                     {"pin", task.pin},
                     {"skip", task.skip},
                     {"one_at_a_time", task.one_at_a_time},
                     {"token_probes", task.token_probes.string()},
                     {"adapters", Json::array()}};
  for (const std::filesystem::path& adapter : task.adapters) json["adapters"].push_back(adapter.string());
  if (task.engine) json["engine"] = {{"kind", task.engine->kind}, {"url", task.engine->url}};
  return "task " + json.dump();
}

std::string encode(const SelftestTask& task) {
  return "selftest " + Json{{"model", task.model.string()}, {"kernels", task.kernels}, {"threads", task.threads}}.dump();
}

Result<std::variant<RunnerTask, SelftestTask>> decode_runner_task(std::string_view line) {
  try {
    if (line.starts_with("selftest ")) {
      const Json json = Json::parse(line.substr(9));
      return SelftestTask{json.at("model").get<std::string>(), json.at("kernels").get<std::string>(), json.at("threads").get<int>()};
    }
    if (!line.starts_with("task ")) return bad("the first line is not a task");
    const Json json = Json::parse(line.substr(5));
    RunnerTask task;
    Result<GrantLease> lease = decode_grant_lease(json.at("lease").get_ref<const std::string&>());
    if (!lease) return lease.error();
    task.lease = std::move(*lease);
    task.model = json.at("model").get<std::string>();
    task.reference_logits = json.at("reference_logits").get<std::string>();
    task.text = json.at("text").get<std::string>();
    task.imatrix = json.at("imatrix").get<std::string>();
    task.output = json.at("output").get<std::string>();
    task.suites_root = json.at("suites_root").get<std::string>();
    task.suite_bundle = json.at("suite_bundle").get<std::string>();
    task.host_lock = json.at("host_lock").get<std::string>();
    task.kernels = json.at("kernels").get<std::string>();
    task.threads = json.at("threads").get<int>();
    task.pin = json.at("pin").get<bool>();
    task.skip = json.at("skip").get<std::vector<int>>();
    task.one_at_a_time = json.at("one_at_a_time").get<bool>();
    task.token_probes = json.at("token_probes").get<std::string>();
    for (const Json& adapter : json.at("adapters")) task.adapters.emplace_back(adapter.get<std::string>());
    if (json.contains("engine")) task.engine = ServerEngine{json["engine"].at("kind").get<std::string>(), json["engine"].at("url").get<std::string>()};
    return task;
  } catch (const Json::exception& error) {
    return bad(fmt::format("a damaged task: {}", error.what()));
  }
}

std::string encode(const RunnerLine& line) {
  struct {
    std::string operator()(const RunnerWaiting&) const { return "waiting {}"; }
    std::string operator()(const RunnerBegan& began) const {
      Json json = Json::array();
      for (const auto& [index, item] : began.items) json.push_back(Json::array({index, item.value}));
      return "began " + json.dump();
    }
    std::string operator()(const ItemResult& row) const { return "row " + quantfleet::encode(row); }
    std::string operator()(const RunnerProgress& p) const {
      return "progress " + Json{{"done", p.done}, {"total", p.total}}.dump();
    }
    std::string operator()(const UnitFinished& f) const { return "finished " + quantfleet::encode(AgentMessage(f)); }
    std::string operator()(const RunnerDigests& d) const {
      return "digests " + Json{{"model_sha256", d.result.model_sha256}, {"kernels", d.result.kernels}, {"digests", d.result.digests}}.dump();
    }
  } write;
  return std::visit(write, line);
}

Result<RunnerLine> decode_runner_line(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return bad("a line without a document");
  const std::string_view word = line.substr(0, space), document = line.substr(space + 1);
  try {
    if (word == "waiting") return RunnerLine(RunnerWaiting{});
    if (word == "row") {
      Result<ItemResult> row = decode_item_result(document);
      if (!row) return row.error();
      return RunnerLine(std::move(*row));
    }
    if (word == "began") {
      RunnerBegan began;
      for (const Json& item : Json::parse(document))
        began.items.emplace_back(item.at(0).get<int>(), ItemId{item.at(1).get<std::string>()});
      return RunnerLine(std::move(began));
    }
    if (word == "progress") {
      const Json json = Json::parse(document);
      return RunnerLine(RunnerProgress{json.at("done").get<std::uint64_t>(), json.at("total").get<std::uint64_t>()});
    }
    if (word == "finished") {
      Result<AgentMessage> message = decode_agent_message(document);
      if (!message) return message.error();
      auto* finished = std::get_if<UnitFinished>(&*message);
      if (!finished) return bad("the last line is not a UnitFinished");
      return RunnerLine(std::move(*finished));
    }
    if (word == "digests") {
      const Json json = Json::parse(document);
      return RunnerLine(RunnerDigests{{json.at("model_sha256").get<std::string>(), json.at("kernels").get<std::string>(),
                                       json.at("digests").get<std::map<std::string, std::string>>()}});
    }
  } catch (const Json::exception& error) {
    return bad(fmt::format("a damaged line: {}", error.what()));
  }
  return bad(fmt::format("an unknown word {:.20}", word));
}

}  // namespace quantfleet::agent
