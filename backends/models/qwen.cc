// Qwen 2, 2.5 and 3 (Yang et al. 2024, 2025): Llama with rotary pairs in halves; Qwen 2 adds biases to q, k and v, Qwen 3 an RMS norm
// of every head of q and k before they turn. Both show in the file's tensors (weights.cc). Of both there are mixtures of
// experts: Qwen 2's take the k probabilities as they are and add an expert for all tokens; Qwen 3's divide them by their sum.
#include "backends/models/config.h"

#include <algorithm>

namespace quantfleet {
namespace {

Result<ModelConfig> read_dense(const GgufFile& file, std::string_view name) { return read_common_config(file, name, Norm::kRms, RotaryPairing::kHalves); }

Result<ModelConfig> read_mixture_of(const GgufFile& file, std::string_view name, bool normalized) {
  auto config = read_common_config(file, name, Norm::kRms, RotaryPairing::kHalves, true);
  if (!config) return config;
  const auto used = file.int_or(std::string(name) + ".expert_used_count", 1);
  // Old files lack the width of an expert: the experts of a token are together as wide as the feed-forward.
  const int fallback = used && *used > 0 ? config->feed_forward / static_cast<int>(std::min<std::int64_t>(*used, config->feed_forward)) : 0;
  if (auto status = read_mixture(file, *config, fallback, normalized); !status) return status.error();
  return config;
}

Result<ModelConfig> read_qwen2_config(const GgufFile& file) { return read_dense(file, "qwen2"); }
Result<ModelConfig> read_qwen3_config(const GgufFile& file) { return read_dense(file, "qwen3"); }
Result<ModelConfig> read_qwen2moe_config(const GgufFile& file) { return read_mixture_of(file, "qwen2moe", false); }
Result<ModelConfig> read_qwen3moe_config(const GgufFile& file) { return read_mixture_of(file, "qwen3moe", true); }

}  // namespace

const Architecture kQwen2 = {"qwen2", read_qwen2_config};
const Architecture kQwen3 = {"qwen3", read_qwen3_config};
const Architecture kQwen2Moe = {"qwen2moe", read_qwen2moe_config};
const Architecture kQwen3Moe = {"qwen3moe", read_qwen3moe_config};

}  // namespace quantfleet
