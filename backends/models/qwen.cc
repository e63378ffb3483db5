// Qwen 2, 2.5 and 3 (Yang et al. 2024, 2025): Llama with rotary pairs in halves; Qwen 2 adds biases to q, k and v, Qwen 3 an RMS norm
// of every head of q and k before they turn. Both show in the file's tensors (weights.cc).
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_qwen2_config(const GgufFile& file) { return read_common_config(file, "qwen2", Norm::kRms, RotaryPairing::kHalves); }
Result<ModelConfig> read_qwen3_config(const GgufFile& file) { return read_common_config(file, "qwen3", Norm::kRms, RotaryPairing::kHalves); }

}  // namespace

const Architecture kQwen2 = {"qwen2", read_qwen2_config};
const Architecture kQwen3 = {"qwen3", read_qwen3_config};

}  // namespace quantfleet
