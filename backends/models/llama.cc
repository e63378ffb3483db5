// Llama 1 to 3, Mistral, Yi, SmolLM, TinyLlama: everything that GGUF calls "llama" (Touvron et al. 2023). RMS norms before
// attention and feed-forward, rotary positions over adjacent pairs, grouped-query attention, SwiGLU, no biases; Llama 3's
// long-context frequencies come as the tensor rope_freqs.weight. Mixtures of experts under the same name are refused.
#include "backends/models/config.h"

#include <fmt/format.h>

namespace quantfleet {
namespace {

Result<ModelConfig> read_llama_config(const GgufFile& file) {
  auto config = read_common_config(file, "llama");
  if (!config) return config;
  config->rotary_pairing = RotaryPairing::kAdjacent;
  const auto experts = file.int_or("llama.expert_count", 0);
  if (!experts) return experts.error();
  if (*experts != 0)
    return Error{Code::kUnsupported,
                 fmt::format("{}: a mixture of {} experts; this program runs dense llama models only", file.path().string(), *experts)};
  return config;
}

}  // namespace

const Architecture kLlama = {"llama", read_llama_config};

}  // namespace quantfleet
