// BLOOM (Le Scao et al. 2022): layer norms, also of the embedding, biases, a feed-forward without gate, and no positions but
// ALiBi (Press et al. 2022): what a key is behind its query lowers the score, in every head by another slope.
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_bloom_config(const GgufFile& file) {
  auto config = read_common_config(file, "bloom", Norm::kLayer, RotaryPairing::kHalves);
  if (!config) return config;
  config->feed_forward_kind = FeedForward::kGelu;
  const auto bias = read_number(file, "bloom", "attention.max_alibi_bias", 8);
  if (!bias) return bias.error();
  if (!(*bias > 0)) return Error{Code::kBadValue, file.path().string() + ": bloom.attention.max_alibi_bias is 0; BLOOM has no other positions"};
  config->alibi_bias = *bias;
  return config;
}

}  // namespace

const Architecture kBloom = {"bloom", read_bloom_config};

}  // namespace quantfleet
