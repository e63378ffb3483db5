#include "agent/runner/open_model.h"

#include "agent/probe/probe.h"
#include "contract/version.h"

#include <fmt/format.h>

namespace quantfleet::agent {

Result<EngineOptions> engine_options(const RunnerTask& task, std::string_view activations, std::string_view kv) {
  EngineOptions options;
  options.model = task.model;
  if (activations == "f32") options.activations = Activations::kF32;
  else if (activations == "int8") options.activations = Activations::kInt8;
  else if (activations == "default") options.activations = Activations::kDefault;
  else return Error{Code::kBadValue, fmt::format("activations \"{}\": expected f32, int8 or default", activations)};
  options.kv = kv;
  options.threads = task.threads;
  options.kernels = task.kernels;
  return options;
}

Provenance provenance_of(const RunnerTask& task, const EngineInfo& engine, const std::string& format) {
  Provenance provenance;
  provenance.program_version = std::string(program_version());
  provenance.model_sha256 = engine.model_sha256;
  provenance.format = format.empty() || format == "as-is" ? engine.format : format;
  provenance.activations = engine.activations;
  provenance.kv = engine.kv;
  provenance.engine = engine.engine;
  provenance.kernels = engine.kernels;
  provenance.host_id = probe_host_id();
  provenance.threads = engine.threads;
  provenance.seed = task.lease.seed;
  return provenance;
}

}  // namespace quantfleet::agent
