#include "agent/registration.h"

#include "agent/probe/probe.h"
#include "agent/sandbox/sandbox.h"
#include "backends/engines/engine.h"
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/quantize_model.h"
#include "contract/version.h"
#include "suites/suite.h"

#include <optional>

namespace quantfleet::agent {

Result<Register> make_registration(const std::filesystem::path& suites_root, const std::map<std::string, ServerEngine>& engines) {
  Register registration;
  registration.program_version = std::string(program_version());
  registration.device = probe_device();
  for (const std::string_view name : quantize_format_names()) registration.formats.emplace_back(name);
  for (const LinearQuantizer& quantizer : all_linear_quantizers()) registration.formats.emplace_back(quantizer.name);
  for (const char* family : {"GPTQ-*", "AWQ-*", "SparseGPT-*", "exl2*", "w8a8-static*", "budget*"}) registration.formats.emplace_back(family);  // by recipes
  for (const std::string_view name : engine_names()) registration.engines.emplace_back(name);
  for (const auto& [name, engine] : engines) registration.engines.push_back(name);
  const Result<std::vector<std::shared_ptr<const Suite>>> suites = load_suites(suites_root);
  if (!suites) return suites.error();
  std::optional<Status> sandbox;  // tried once, and only where a suite needs it
  for (const std::shared_ptr<const Suite>& suite : *suites) {
    SuiteInfo& info = registration.suites.emplace_back(suite->info());
    if (info.kind != "code") continue;
    if (!sandbox) sandbox = sandbox_available();
    if (!*sandbox) info.not_runnable = sandbox->error().detail;
  }
  return registration;
}

}  // namespace quantfleet::agent
