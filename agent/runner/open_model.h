// The engine of a task, and the provenance of its rows.
#pragma once

#include "agent/runner/runner_task.h"
#include "backends/engines/engine.h"
#include "contract/item_result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::agent {

// lora: the work's; its files are the task's.
Result<EngineOptions> engine_options(const RunnerTask& task, std::string_view activations, std::string_view kv, const std::vector<LoraUse>& lora);
// The task's engine, ours or a server. Where the work has token probes, an engine that tokenizes otherwise is an error.
Result<std::unique_ptr<Engine>> open_engine(const RunnerTask& task, const EngineOptions& options);
Provenance provenance_of(const RunnerTask& task, const EngineInfo& engine, const std::string& format);

}  // namespace quantfleet::agent
