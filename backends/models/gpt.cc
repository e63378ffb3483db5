// GPT-2 (Radford et al. 2019) and GPT-NeoX with Pythia (Black et al. 2022; Biderman et al. 2023): layer norms, biases, a
// feed-forward without gate. GPT-2 has learned positions; GPT-NeoX turns a quarter of each head, and reads attention and
// feed-forward from the same input unless the file says otherwise. GELU is the tanh form, as in ggml: GPT-NeoX was trained with
// the exact one.
#include "backends/models/config.h"

namespace quantfleet {
namespace {

Result<ModelConfig> read_gpt2_config(const GgufFile& file) {
  auto config = read_common_config(file, "gpt2", Norm::kLayer, RotaryPairing::kHalves);
  if (!config) return config;
  config->feed_forward_kind = FeedForward::kGelu;
  config->learned_positions = true;
  return config;
}

Result<ModelConfig> read_gptneox_config(const GgufFile& file) {
  auto config = read_common_config(file, "gptneox", Norm::kLayer, RotaryPairing::kHalves);
  if (!config) return config;
  config->feed_forward_kind = FeedForward::kGelu;
  const auto parallel = file.bool_or("gptneox.use_parallel_residual", true);
  if (!parallel) return parallel.error();
  config->parallel_residual = *parallel;
  return config;
}

}  // namespace

const Architecture kGpt2 = {"gpt2", read_gpt2_config};
const Architecture kGptNeoX = {"gptneox", read_gptneox_config};

}  // namespace quantfleet
