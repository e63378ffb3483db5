// What a model file says about its shape: the numbers that the forward pass needs, read from GGUF metadata and checked.
#pragma once

#include "backends/formats/gguf.h"
#include "backends/kernels/kernels.h"
#include "contract/error.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quantfleet {

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
  float norm_epsilon = 0;
  float attention_scale = 0;       // times every score
  // Rotary positions: the first rotary_width values of each head turn.
  RotaryPairing rotary_pairing = RotaryPairing::kAdjacent;
  int rotary_width = 0;
  double rotary_base = 10000;
  double rotary_scale = 1;         // positions are divided by it (linear scaling)
};

// One model architecture: how its file is read. What all have in common is in transformer.cc.
struct Architecture {
  std::string_view name;           // general.architecture
  Result<ModelConfig> (*read_config)(const GgufFile& file);
};

extern const Architecture kLlama;  // llama.cc

std::span<const Architecture* const> all_architectures();

// Finds the architecture and reads its config. Errors: kUnknownArchitecture with the name that the file gives and the known
// ones; kNotFound, kBadValue, kBadShape, kUnsupported with the key.
Result<ModelConfig> read_model_config(const GgufFile& file);

// The keys that all decoder-only transformers share, under the prefix "<architecture>.".
Result<ModelConfig> read_common_config(const GgufFile& file, std::string_view architecture);

}  // namespace quantfleet
