// Llama 1 to 3, Mistral, Mixtral, Yi, SmolLM, TinyLlama: everything that GGUF calls "llama" (Touvron et al. 2023). RMS norms before
// attention and feed-forward, rotary positions over adjacent pairs, grouped-query attention, SwiGLU; Llama 3's long-context
// frequencies come as the tensor rope_freqs.weight. Mistral 7B v0.1's sliding window is in its
// Hugging Face files; converted GGUF files lack it, and llama.cpp ignores it.
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_llama_config(const GgufFile& file) {
  auto config = read_common_config(file, "llama", Norm::kRms, RotaryPairing::kAdjacent, true);
  if (!config) return config;
  if (auto status = read_mixture(file, *config, config->feed_forward, true); !status) return status.error();  // Mixtral
  const auto window = read_window(file, "llama", 0);
  if (!window) return window.error();
  if (*window > 0) config->windows.assign(static_cast<std::size_t>(config->layers), *window);
  return config;
}

}  // namespace

const Architecture kLlama = {"llama", read_llama_config};

}  // namespace quantfleet
