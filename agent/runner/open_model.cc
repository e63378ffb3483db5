#include "agent/runner/open_model.h"

#include "agent/probe/probe.h"
#include "backends/engines/token_probes.h"
#include "contract/version.h"

#include <fmt/format.h>

#include <cstdlib>

namespace quantfleet::agent {

Result<EngineOptions> engine_options(const RunnerTask& task, std::string_view activations, std::string_view kv, const std::vector<LoraUse>& lora) {
  EngineOptions options;
  options.model = task.model;
  if (activations == "f32") options.activations = Activations::kF32;
  else if (activations == "int8") options.activations = Activations::kInt8;
  else if (activations == "default") options.activations = Activations::kDefault;
  else return Error{Code::kBadValue, fmt::format("activations \"{}\": expected f32, int8 or default", activations)};
  options.kv = kv;
  if (lora.size() != task.adapters.size()) return Error{Code::kBadValue, fmt::format("{} adapters are wanted, {} are here", lora.size(), task.adapters.size())};
  for (std::size_t i = 0; i < lora.size(); ++i) options.adapters.push_back({task.adapters[i], lora[i].scale});
  if (task.engine) options.server.url = task.engine->url;
  if (const char* key = std::getenv("QUANTFLEET_ENGINE_KEY"); key && task.engine) options.server.key = key;
  options.threads = task.threads;
  options.pin = task.pin;
  options.kernels = task.kernels;
  return options;
}

Result<std::unique_ptr<Engine>> open_engine(const RunnerTask& task, const EngineOptions& options) {
  auto engine = quantfleet::open_engine(task.engine ? task.engine->kind : "native", options);
  if (!engine || task.token_probes.empty()) return engine;
  const auto probes = read_token_probes(task.token_probes);
  if (!probes) return probes.error();
  const Status conforms = check_token_probes(**engine, *probes);
  // A server that does not say how it tokenizes is taken at its word; its rows say which kind of server it is.
  if (!conforms && conforms.error().code != Code::kUnsupported) return conforms.error();
  return engine;
}

Provenance provenance_of(const RunnerTask& task, const EngineInfo& engine, const std::string& format) {
  Provenance provenance;
  provenance.program_version = std::string(program_version());
  provenance.model_sha256 = engine.model_sha256;
  provenance.format = format.empty() || format == "as-is" ? engine.format : format;
  provenance.activations = engine.activations;
  provenance.kv = engine.kv;
  provenance.lora = engine.lora;
  provenance.engine = engine.engine;
  provenance.kernels = engine.kernels;
  provenance.host_id = probe_host_id();
  provenance.threads = engine.threads;
  provenance.seed = task.lease.seed;
  return provenance;
}

}  // namespace quantfleet::agent
