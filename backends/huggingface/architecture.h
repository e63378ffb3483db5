// How a Hugging Face architecture becomes GGUF's: keys of config.json, names of modules, and what conversion changes.
#pragma once

#include "backends/formats/gguf.h"
#include "backends/huggingface/json_file.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quantfleet::huggingface {

// What happens to the rows of a weight (and of its bias) on the way.
enum class RowOrder {
  kAsStored,
  kQueryPairs, kKeyPairs,  // rotary pairs in halves become adjacent: new row 2j + s of a head is row s D/2 + j
  kInterleavedQkv,         // GPT-NeoX, BLOOM, Falcon: [G][H/G q, k, v][D] becomes all q, all k, all v
};

struct Module {
  // "model.layers.{}.mlp.up_proj": {} stands for the layer, a second one for an expert. The matrices of all experts of a layer
  // become one tensor of three dimensions.
  std::string_view name;
  std::string_view gguf;      // "ffn_up": "blk.N." stands before it where the name has a layer
  RowOrder order = RowOrder::kAsStored;
  bool transposed = false;    // stored [in, out] (GPT-2's Conv1D)
  bool add_one = false;       // norms that multiply by 1 + weight (Gemma)
};

struct HfArchitecture {
  std::string_view model_type;          // config.json
  std::string_view gguf;                // general.architecture
  std::span<const Module> modules;
};

// The one visible list.
std::span<const HfArchitecture> all_hf_architectures();

// "model.layers.3.mlp.up_proj" is the module "model.layers.{}.mlp.up_proj", layer 3. layer and expert: -1 where the module has none.
// nullptr: the architecture has no such module.
const Module* find_module(const HfArchitecture& architecture, std::string_view name, int& layer, int& expert);

struct Shape {
  int layers = 0, heads = 0, kv_heads = 0, head_width = 0, rotary_width = 0;
  std::int64_t vocabulary = 0;
  bool tied = false;                    // the embedding is the output matrix, too
  int experts = 0;                      // of a layer; 0: no mixture
  std::vector<float> rotary_divisors;   // Llama 3: [rotary_width / 2], the tensor rope_freqs.weight
  std::vector<float> short_divisors, long_divisors;  // Phi-3: the same, rope_factors_short.weight and rope_factors_long.weight
};

// Where row `row` of GGUF's matrix (or bias) stands in the checkpoint.
std::int64_t stored_row(RowOrder order, const Shape& shape, std::int64_t row);

using Metadata = std::vector<std::pair<std::string, GgufValue>>;

// Reads config.json: adds "general.*" and "<architecture>.*" keys. Multimodal files keep their text model under text_config.
Result<const HfArchitecture*> read_config(const Json& config, const std::string& place, Metadata& metadata, Shape& shape);

}  // namespace quantfleet::huggingface
