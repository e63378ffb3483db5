// StarCoder 2 (Lozhkov et al. 2024): layer norms, biases everywhere, grouped-query attention, a feed-forward without gate.
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_starcoder2_config(const GgufFile& file) {
  auto config = read_common_config(file, "starcoder2", Norm::kLayer, RotaryPairing::kHalves);
  if (!config) return config;
  config->feed_forward_kind = FeedForward::kGelu;
  const auto window = read_window(file, "starcoder2", 0);
  if (!window) return window.error();
  if (*window > 0) config->windows.assign(static_cast<std::size_t>(config->layers), *window);
  return config;
}

}  // namespace

const Architecture kStarcoder2 = {"starcoder2", read_starcoder2_config};

}  // namespace quantfleet
