// A model's weights, packed for one family of kernels, and the check that a file has exactly the tensors it needs.
#pragma once

#include "backends/formats/lora.h"
#include "backends/models/config.h"

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace quantfleet {

// Several matrices over the same input, stacked by rows: one product where their formats agree. Row n of the stack is row
// n - begin of the part it belongs to; stacking changes no bit of a result. Adapters add to the product: y + B (s A x) each, in
// F32 whatever the activations are, in the order in which they were given (docs/numerics.md).
struct StackedMatrix {
  struct Part {
    WeightMatrix matrix;
    std::int64_t begin = 0;  // first output
  };
  struct Update {
    WeightMatrix a, b;       // [r, K], [N, r]
    float scale = 1;         // s
    std::int64_t begin = 0;  // first output
  };
  std::vector<Part> parts;
  std::int64_t rows = 0;
  std::vector<Update> updates;
};

// What an adapter adds to embeddings: B (s A[token]).
struct EmbeddingUpdate {
  std::vector<float> a;      // [V, r]
  WeightMatrix b;            // [C, r]
  float scale = 1;           // s
};

// An adapter and how strongly it acts: its own scale is multiplied by this one.
struct AppliedAdapter {
  std::shared_ptr<const LoraAdapter> adapter;
  float scale = 1;
};

struct NormWeights {
  std::vector<float> weight;             // empty: no norm here
  std::vector<float> bias;               // layer norms; may be empty
};

// A mixture of experts in the place of a feed-forward: each token goes through the k experts that the router likes best.
struct MixtureWeights {
  StackedMatrix router;                  // [E, C]
  std::vector<StackedMatrix> gate_up;    // [E] of [2 F, C], F of an expert
  std::vector<StackedMatrix> down;       // [E] of [C, F]
  StackedMatrix shared_gate_up;          // [2 S, C]: the expert of all tokens; without rows where there is none
  StackedMatrix shared_down;             // [C, S]
  StackedMatrix shared_gate;             // [1, C]: its sigmoid is the shared expert's weight; without rows: 1
};

// Vectors that a model lacks are empty: no bias, no norm.
struct LayerWeights {
  NormWeights attention_norm;            // [C]
  StackedMatrix qkv;                     // [H D + 2 G D, C]
  std::vector<float> qkv_bias;           // [H D + 2 G D]
  std::vector<float> q_norm, k_norm;     // [D], every head alike; or over all heads: [H D], [G D]
  StackedMatrix attention_output;        // [C, H D]
  std::vector<float> attention_output_bias;       // [C]
  NormWeights post_attention_norm;       // [C], of what attention adds
  NormWeights feed_forward_norm;         // [C]
  StackedMatrix gate_up;                 // [2 F, C]; without gate [F, C]
  std::vector<float> gate_up_bias;       // as many
  StackedMatrix down;                    // [C, F]
  std::vector<float> down_bias;          // [C]
  std::optional<MixtureWeights> mixture; // instead of gate_up and down
  NormWeights post_feed_forward_norm;    // [C], of what the feed-forward adds
};

// A loaded model: immutable, may be shared by threads. Rows of the embedding are decoded from the mapped file.
struct Model {
  ModelConfig config;
  std::shared_ptr<const GgufFile> file;
  const GgufTensor* embedding = nullptr;   // [V, C]
  std::vector<EmbeddingUpdate> embedding_updates;
  std::vector<LayerWeights> layers;
  const GgufTensor* position_embedding = nullptr;   // [positions, C], learned positions only
  NormWeights embedding_norm;              // [C], of embeddings (BLOOM)
  NormWeights output_norm;                 // [C]
  StackedMatrix output;                    // [V, C]
  std::vector<float> output_bias;          // [V] or empty
  std::vector<double> rotary_frequencies;  // [rotary_width / 2], radians per position
  std::vector<double> windowed_rotary_frequencies;  // of layers with a window, where they differ
  std::vector<double> long_rotary_frequencies;      // of contexts above config.long_rotary_context, where it is not 0
  std::vector<float> alibi_slopes;         // [H], ALiBi only
  const KernelFamily* family = nullptr;
  std::uint64_t weights_bytes = 0;         // packed matrices, norms and the embedding
  bool has_int8 = false;                   // some matrix of a layer has int8 activations
  std::string format;                      // "Q4_K_M": general.file_type's name, else the format of most matrix values

  // x [C]: the embedding of a token, 0 <= token < V, with the learned position added, where there is one.
  void embed(std::int32_t token, std::int64_t position, float* x) const;
};

// Bytes that the file's weights will take (Model::weights_bytes), from the shapes of its tensors alone.
std::uint64_t weights_size(const GgufFile& file, const KernelFamily& family);

// release_pages: the file is mapped (GgufFile::open), and its pages may be given back to the system once packed.
// Errors name the file and the tensor: kNotFound, kBadShape, kNonFinite; kUnsupported for a tensor that the architecture
// does not know (a bias that would be ignored, for example). An adapter must be of this architecture, and every matrix that it
// changes one of the model's, of the same shape: kBadValue, kUnsupported, kBadShape otherwise, with the adapter and the tensor.
Result<std::shared_ptr<const Model>> load_model(std::shared_ptr<const GgufFile> file, const KernelFamily& family, ThreadPool& pool,
                                                bool release_pages, std::span<const AppliedAdapter> adapters = {});

// One layer alone, with the embedding and without the output matrix: config.layers is 1, the window is that layer's. What
// streams a model layer by layer (calibration) needs no more at a time.
Result<std::shared_ptr<const Model>> load_layer(std::shared_ptr<const GgufFile> file, int layer, const KernelFamily& family, ThreadPool& pool);
// What is behind the layers alone: output norm and matrix; config.layers is 0.
Result<std::shared_ptr<const Model>> load_head(std::shared_ptr<const GgufFile> file, const KernelFamily& family, ThreadPool& pool);

}  // namespace quantfleet
