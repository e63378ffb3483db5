// What a model file says about its shape: the numbers that the forward pass needs, read from GGUF metadata and checked.
#pragma once

#include "backends/formats/gguf.h"
#include "backends/kernels/kernels.h"
#include "contract/error.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

enum class Norm { kRms, kLayer };  // Zhang & Sennrich 2019; Ba et al. 2016
enum class FeedForward {
  kSiluGated,  // down(silu(gate) * up): SwiGLU (Shazeer 2020)
  kGeluGated,  // down(gelu(gate) * up)
  kGelu,       // down(gelu(up))
};

// C: width of the residual stream.   H, G: query and key-value heads, H a multiple of G.   D: width of a head.
struct ModelConfig {
  std::string architecture;        // "llama"
  std::string name;                // general.name
  int vocabulary_tokens = 0;       // V
  int context_tokens = 0;          // what the model was trained for
  int layers = 0;
  int width = 0;                   // C
  int feed_forward = 0;            // F
  int heads = 0, kv_heads = 0;     // H, G
  int head_width = 0;              // D
  Norm norm = Norm::kRms;
  FeedForward feed_forward_kind = FeedForward::kSiluGated;
  float norm_epsilon = 0;
  float attention_scale = 0;       // times every score
  float attention_softcap = 0;     // > 0: score = cap * tanh(score / cap)
  float logit_softcap = 0;         // > 0: the same for logits
  float embedding_scale = 1;       // times every embedding
  // Attention and feed-forward both read the layer's input: x + attention(norm x) + feed_forward(norm x).
  bool parallel_residual = false;
  std::vector<int> windows;        // [layers]: keys that a query sees, itself included; 0: all. Empty: all layers 0
  bool learned_positions = false;  // position_embd.weight instead of rotary positions (GPT-2)
  double alibi_bias = 0;           // > 0: no rotary positions but ALiBi (Press et al. 2022) with this largest bias (BLOOM)
  // Rotary positions: the first rotary_width values of each head turn.
  RotaryPairing rotary_pairing = RotaryPairing::kAdjacent;
  int rotary_width = 0;
  double rotary_base = 10000;
  double rotary_scale = 1;         // positions are divided by it (linear scaling)
  // YaRN (Peng et al. 2023): the context of training where rotary_scale was 1; 0: rotary_scale holds for all frequencies.
  int yarn_original_context = 0;
  double rotary_magnitude = 1;     // times every cosine and sine
  // LongRoPE (Ding et al. 2024): contexts up to this many positions use the tensor rope_factors_short, longer ones
  // rope_factors_long; 0: the model has neither (Phi-3).
  int long_rotary_context = 0;
  double windowed_rotary_base = 0; // > 0: of the layers with a window, which are not scaled (Gemma 3)

  // Mixture of experts (Shazeer et al. 2017; Jiang et al. 2024): of the layers that have a router; 0: none has.
  int experts = 0, experts_used = 0;     // E; k of them for each token
  int expert_feed_forward = 0;           // F of an expert
  int shared_feed_forward = 0;           // F of the expert that every token takes (Qwen 2); 0: there is none
  bool expert_weights_normalized = false;  // the k probabilities are divided by their sum
  float expert_weights_scale = 1;

  int window_of(int layer) const { return windows.empty() ? 0 : windows[static_cast<std::size_t>(layer)]; }
  bool has_rotary_positions() const { return !learned_positions && alibi_bias == 0; }
};

// One model architecture: how its file is read. What all have in common is in transformer.cc.
struct Architecture {
  std::string_view name;           // general.architecture
  Result<ModelConfig> (*read_config)(const GgufFile& file);
};

extern const Architecture kLlama;                    // llama.cc
extern const Architecture kQwen2, kQwen3, kQwen2Moe, kQwen3Moe;  // qwen.cc
extern const Architecture kGemma, kGemma2, kGemma3;  // gemma.cc
extern const Architecture kPhi2, kPhi3;              // phi.cc
extern const Architecture kGpt2, kGptNeoX;           // gpt.cc
extern const Architecture kFalcon;                   // falcon.cc
extern const Architecture kBloom;                    // bloom.cc
extern const Architecture kOlmo2;                    // olmo2.cc
extern const Architecture kStarcoder2;               // starcoder2.cc

std::span<const Architecture* const> all_architectures();

// Finds the architecture and reads its config. Errors: kUnknownArchitecture with the name that the file gives and the known
// ones; kNotFound, kBadValue, kBadShape, kUnsupported with the key.
Result<ModelConfig> read_model_config(const GgufFile& file);

// The keys that all decoder-only transformers share, under the prefix "<architecture>.". A mixture of experts is refused
// unless the architecture asks for it by read_mixture.
Result<ModelConfig> read_common_config(const GgufFile& file, std::string_view architecture, Norm norm, RotaryPairing pairing,
                                       bool may_be_mixture = false);

// The keys of a mixture of experts, where the file has one. The fallbacks are for files without the key.
Status read_mixture(const GgufFile& file, ModelConfig& config, int expert_feed_forward_fallback, bool normalized_fallback);

// An optional number of at least 0 under "<architecture>.".  Errors: kBadValue with the key.
Result<double> read_number(const GgufFile& file, std::string_view architecture, std::string_view key, double fallback);

// Positions of "<architecture>.attention.sliding_window"; 0: none.
Result<int> read_window(const GgufFile& file, std::string_view architecture, int fallback);

}  // namespace quantfleet
