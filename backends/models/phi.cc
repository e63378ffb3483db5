// Phi-2 (Javaheripi et al. 2023): one layer norm for attention and feed-forward side by side, biases also at the output. Phi-3 and
// Phi-4 (Abdin et al. 2024): Llama with q, k, v and gate, up in one matrix each, rotary pairs in halves, a sliding window in all layers.
// Files with long-context factors (rope_factors_long) are refused: which factors apply depends on the context one asks for.
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_phi2_config(const GgufFile& file) {
  auto config = read_common_config(file, "phi2", Norm::kLayer, RotaryPairing::kHalves);
  if (!config) return config;
  config->feed_forward_kind = FeedForward::kGelu;
  config->parallel_residual = true;
  return config;
}

Result<ModelConfig> read_phi3_config(const GgufFile& file) {
  auto config = read_common_config(file, "phi3", Norm::kRms, RotaryPairing::kHalves);
  if (!config) return config;
  // Old files of the models with a context of 4096 lack the key; the window is then that of the model.
  const bool is_4k = config->context_tokens == 4096 && (config->layers == 32 || config->layers == 40);
  const auto window = read_window(file, "phi3", is_4k ? 2047 : 0);
  if (!window) return window.error();
  config->windows.assign(static_cast<std::size_t>(config->layers), *window);
  return config;
}

}  // namespace

const Architecture kPhi2 = {"phi2", read_phi2_config};
const Architecture kPhi3 = {"phi3", read_phi3_config};

}  // namespace quantfleet
