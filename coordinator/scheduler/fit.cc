#include "coordinator/scheduler/scheduler.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet::coordinator {

std::string why_not(const Unit& unit, std::uint64_t model_bytes, const Register& agent) {
  if (!unit.host_id.empty() && unit.host_id != agent.device.host_id)
    return fmt::format("it belongs to machine {}", unit.host_id);
  if (const auto* quantize = std::get_if<QuantizeWork>(&unit.work)) {
    if (std::find(agent.formats.begin(), agent.formats.end(), quantize->format) == agent.formats.end())
      return fmt::format("{} cannot quantize to {}", agent.name, quantize->format);
  }
  if (const std::string_view name = suite_of(unit.work); !name.empty()) {
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
