// Gemma 1 to 3 (Gemma Team 2024, 2024, 2025): embeddings times the root of the width, GELU-gated feed-forward; Gemma 2 adds norms behind
// attention and feed-forward, a sliding window in even layers and soft caps on scores and logits; Gemma 3 replaces the caps by RMS norms
// of q and k, gives five of six layers a window and these a rotary base of 10000 without scaling. GGUF stores norm weights
// with the 1 already added.
#include "backends/models/config.h"

#include <cmath>

namespace quantfleet {
namespace {

Result<ModelConfig> read_gemma_common(const GgufFile& file, std::string_view architecture) {
  auto config = read_common_config(file, architecture, Norm::kRms, RotaryPairing::kHalves);
  if (!config) return config;
  config->feed_forward_kind = FeedForward::kGeluGated;
  config->embedding_scale = std::sqrt(static_cast<float>(config->width));
  return config;
}

// The largest models scale scores by the width over the heads, not by the head's own width.
void scale_by_width(ModelConfig& config) {
  config.attention_scale = 1.0f / std::sqrt(static_cast<float>(config.width) / static_cast<float>(config.heads));
}

Result<ModelConfig> read_gemma_config(const GgufFile& file) { return read_gemma_common(file, "gemma"); }

Result<ModelConfig> read_gemma2_config(const GgufFile& file) {
  auto config = read_gemma_common(file, "gemma2");
  if (!config) return config;
  const auto attention_cap = read_number(file, "gemma2", "attn_logit_softcapping", 50);
  const auto logit_cap = read_number(file, "gemma2", "final_logit_softcapping", 30);
  const auto window = read_window(file, "gemma2", 4096);
  if (!attention_cap) return attention_cap.error();
  if (!logit_cap) return logit_cap.error();
  if (!window) return window.error();
  config->attention_softcap = static_cast<float>(*attention_cap);
  config->logit_softcap = static_cast<float>(*logit_cap);
  for (int layer = 0; layer < config->layers; ++layer) config->windows.push_back(layer % 2 == 0 ? *window : 0);
  if (config->layers == 46) scale_by_width(*config);  // 27B
  return config;
}

Result<ModelConfig> read_gemma3_config(const GgufFile& file) {
  auto config = read_gemma_common(file, "gemma3");
  if (!config) return config;
  const auto window = read_window(file, "gemma3", 0);
  if (!window) return window.error();
  if (*window == 0) return Error{Code::kNotFound, file.path().string() + ": gemma3.attention.sliding_window is missing or 0"};
  for (int layer = 0; layer < config->layers; ++layer) config->windows.push_back((layer + 1) % 6 == 0 ? 0 : *window);
  if (!file.find("gemma3.rope.freq_base")) config->rotary_base = 1e6;
  config->windowed_rotary_base = 10000;
  if (config->layers == 62) scale_by_width(*config);  // 27B
  return config;
}

}  // namespace

const Architecture kGemma = {"gemma", read_gemma_config};
const Architecture kGemma2 = {"gemma2", read_gemma2_config};
const Architecture kGemma3 = {"gemma3", read_gemma3_config};

}  // namespace quantfleet
