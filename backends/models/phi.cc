// Phi-2 (Javaheripi et al. 2023): one layer norm for attention and feed-forward side by side, biases also at the output. Phi-3 and
// Phi-4 (Abdin et al. 2024): Llama with q, k, v and gate, up in one matrix each, rotary pairs in halves, a sliding window in all layers.
// Files with long-context factors have two sets of rotary divisors (LongRoPE, Ding et al. 2024): which one applies depends on the
// context that one asks for, not on the text (docs/architectures.md).
#include "backends/models/config.h"

#include <fmt/format.h>

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
  if (file.find_tensor("rope_factors_short.weight")) {
    const auto original = file.int_or("phi3.rope.scaling.original_context_length", config->context_tokens);
    if (!original) return original.error();
    if (*original < 1 || *original > config->context_tokens)
      return Error{Code::kBadValue, fmt::format("{}: phi3.rope.scaling.original_context_length is {}; 1 to {} is possible", file.path().string(),
                                                *original, config->context_tokens)};
    const auto magnitude = read_number(file, "phi3", "rope.scaling.attn_factor", 1);
    if (!magnitude) return magnitude.error();
    config->long_rotary_context = static_cast<int>(*original);
    config->rotary_magnitude = *magnitude;
  }
  return config;
}

}  // namespace

const Architecture kPhi2 = {"phi2", read_phi2_config};
const Architecture kPhi3 = {"phi3", read_phi3_config};

}  // namespace quantfleet
