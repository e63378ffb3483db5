#include "coordinator/scheduler/scheduler.h"

#include "contract/twins.h"
#include "coordinator/jobs/expand.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet::coordinator {

namespace {

bool comes_with_the_run(const Work& work) {
  const auto* accuracy = std::get_if<AccuracyWork>(&work);
  const auto* reference = std::get_if<ReferenceLogitsWork>(&work);
  return (accuracy && !accuracy->suite_bundle_sha256.empty()) || (reference && !reference->suite_bundle_sha256.empty());
}

}  // namespace

std::string why_not(const Unit& unit, std::uint64_t model_bytes, const Register& agent) {
  if (!unit.host_id.empty() && unit.host_id != agent.device.host_id)
    return fmt::format("it belongs to machine {}", unit.host_id);
  if (const auto* quantize = std::get_if<QuantizeWork>(&unit.work)) {
    if (!makes_format(agent, *quantize)) return fmt::format("{} cannot quantize to {}", agent.name, quantize->recipe ? quantize->recipe->name : quantize->format);
  }
  if (const auto* accuracy = std::get_if<AccuracyWork>(&unit.work); accuracy && accuracy->needs_sandbox && !accuracy->suite_bundle_sha256.empty()) {
    if (std::string reason = why_no_code(agent); !reason.empty()) return reason;
  }
  if (const auto* accuracy = std::get_if<AccuracyWork>(&unit.work); accuracy && !accuracy->engine.empty() &&
                                                                    std::find(agent.engines.begin(), agent.engines.end(), accuracy->engine) == agent.engines.end())
    return fmt::format("{} has no engine called {}", agent.name, accuracy->engine);
  if (std::string_view name = suite_of(unit.work); !name.empty() && !comes_with_the_run(unit.work)) {
    TwinName twin;  // made by the agent from its original
    if (read_twin_name(name, twin)) name = twin.original;
    const auto suite = std::find_if(agent.suites.begin(), agent.suites.end(),
                                    [&](const SuiteInfo& s) { return s.name == name && s.sha256 == unit.suite_sha256; });
    if (suite == agent.suites.end()) return fmt::format("{} has no suite {} in the run's version", agent.name, name);
    if (!suite->not_runnable.empty()) return suite->not_runnable;
  }
  // Weights, a KV cache and room to work: a quarter more than the file. An agent that does not know its memory is trusted.
  if (agent.device.memory_bytes > 0 && model_bytes > agent.device.memory_bytes / 5 * 4)
    return fmt::format("a model of {} bytes does not fit the {} bytes of {}", model_bytes, agent.device.memory_bytes, agent.name);
  return {};
}

}  // namespace quantfleet::coordinator
