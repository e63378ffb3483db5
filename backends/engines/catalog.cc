// The engines this program has, by name.
#include "backends/engines/external.h"
#include "backends/engines/native.h"

#include <fmt/format.h>

#include <array>

namespace quantfleet {
namespace {

struct EngineKind {
  std::string_view name;
  Result<std::unique_ptr<Engine>> (*open)(const EngineOptions& options);
};

Result<std::unique_ptr<Engine>> open_native(const EngineOptions& options) {
  auto engine = NativeEngine::open(options);
  if (!engine) return engine.error();
  return std::unique_ptr<Engine>(std::move(*engine));
}

constexpr std::array kEngines = {EngineKind{"native", open_native}};

}  // namespace

Result<std::unique_ptr<Engine>> open_engine(std::string_view engine_name, const EngineOptions& options) {
  for (const EngineKind& kind : kEngines)
    if (kind.name == engine_name) return kind.open(options);
  std::string servers;
  for (const Dialect& dialect : all_dialects()) {
    if (dialect.name == engine_name) {
      auto engine = ExternalEngine::open(engine_name, options);
      if (!engine) return engine.error();
      return std::unique_ptr<Engine>(std::move(*engine));
    }
    servers += ", " + std::string(dialect.name);
  }
  return Error{Code::kUnknownName, fmt::format("no engine is called '{}'; there are: native{}", engine_name, servers)};
}

std::span<const std::string_view> engine_names() {
  static constexpr std::array kNames = {kEngines[0].name};
  return kNames;
}

}  // namespace quantfleet
