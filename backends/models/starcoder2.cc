// StarCoder 2 (Lozhkov et al. 2024): layer norms, biases everywhere, grouped-query attention, a feed-forward without gate.
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_starcoder2_config(const GgufFile& file) {
  auto config = read_common_config(file, "starcoder2", Norm::kLayer, RotaryPairing::kHalves);
  if (config) config->feed_forward_kind = FeedForward::kGelu;
  return config;
}

}  // namespace

const Architecture kStarcoder2 = {"starcoder2", read_starcoder2_config};

}  // namespace quantfleet
