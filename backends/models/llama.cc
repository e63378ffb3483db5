// Llama 1 to 3, Mistral, Yi, SmolLM, TinyLlama: everything that GGUF calls "llama" (Touvron et al. 2023). RMS norms before
// attention and feed-forward, rotary positions over adjacent pairs, grouped-query attention, SwiGLU; Llama 3's long-context
// frequencies come as the tensor rope_freqs.weight. Mistral 7B v0.1's sliding window is not in GGUF files, and llama.cpp ignores it.
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_llama_config(const GgufFile& file) { return read_common_config(file, "llama", Norm::kRms, RotaryPairing::kAdjacent); }

}  // namespace

const Architecture kLlama = {"llama", read_llama_config};

}  // namespace quantfleet
