// The engine of a task, and the provenance of its rows.
#pragma once

#include "agent/runner/runner_task.h"
#include "backends/engines/engine.h"
#include "contract/item_result.h"

#include <memory>
#include <string>
#include <string_view>

namespace quantfleet::agent {

Result<EngineOptions> engine_options(const RunnerTask& task, std::string_view activations, std::string_view kv);
Provenance provenance_of(const RunnerTask& task, const EngineInfo& engine, const std::string& format);

}  // namespace quantfleet::agent
