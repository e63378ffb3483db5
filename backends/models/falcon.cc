// Falcon 7B and 40B (Almazrouei et al. 2023): attention and feed-forward side by side, few key-value heads, no biases. The 40B
// gives attention a norm of its own (attn_norm_2).
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_falcon_config(const GgufFile& file) {
  auto config = read_common_config(file, "falcon", Norm::kLayer, RotaryPairing::kHalves);
  if (!config) return config;
  config->feed_forward_kind = FeedForward::kGelu;
  config->parallel_residual = true;
  return config;
}

}  // namespace

const Architecture kFalcon = {"falcon", read_falcon_config};

}  // namespace quantfleet
