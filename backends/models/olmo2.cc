// OLMo 2 (Walsh et al. 2025): no norms before attention and feed-forward but RMS norms behind them, and RMS norms over the whole of
// q and of k. All of it shows in the file's tensors (weights.cc).
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_olmo2_config(const GgufFile& file) { return read_common_config(file, "olmo2", Norm::kRms, RotaryPairing::kHalves); }

}  // namespace

const Architecture kOlmo2 = {"olmo2", read_olmo2_config};

}  // namespace quantfleet
