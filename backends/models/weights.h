// A model's weights, packed for one family of kernels, and the check that a file has exactly the tensors it needs.
#pragma once

#include "backends/models/config.h"

#include <memory>
#include <vector>

namespace quantfleet {

// Several matrices over the same input, stacked by rows: one product where their formats agree. Row n of the stack is row
// n - begin of the part it belongs to; stacking changes no bit of a result.
struct StackedMatrix {
  struct Part {
    WeightMatrix matrix;
    std::int64_t begin = 0;  // first output
  };
  std::vector<Part> parts;
  std::int64_t rows = 0;
};

struct LayerWeights {
  std::vector<float> attention_norm;     // [C]
  StackedMatrix qkv;                     // [H D + 2 G D, C]
  WeightMatrix attention_output;         // [C, H D]
  std::vector<float> feed_forward_norm;  // [C]
  StackedMatrix gate_up;                 // [2 F, C]
  WeightMatrix down;                     // [C, F]
};

// A loaded model: immutable, may be shared by threads. Rows of the embedding are decoded from the mapped file.
struct Model {
  ModelConfig config;
  std::shared_ptr<const GgufFile> file;
  const GgufTensor* embedding = nullptr;   // [V, C]
  std::vector<LayerWeights> layers;
  std::vector<float> output_norm;          // [C]
  WeightMatrix output;                     // [V, C]
  std::vector<double> rotary_frequencies;  // [rotary_width / 2], radians per position
  const KernelFamily* family = nullptr;
  std::uint64_t weights_bytes = 0;         // packed matrices, norms and the embedding
  bool has_int8 = false;                   // some matrix of a layer has int8 activations
  std::string format;                      // "Q4_K_M": general.file_type's name, else the format of most matrix values

  // x [C]: the embedding of a token, 0 <= token < V.
  void embed(std::int32_t token, float* x) const;
};

// release_pages: the file is mapped (GgufFile::open), and its pages may be given back to the system once packed.
// Errors name the file and the tensor: kNotFound, kBadShape, kNonFinite; kUnsupported for a tensor that the architecture
// does not know (a bias that would be ignored, for example).
Result<std::shared_ptr<const Model>> load_model(std::shared_ptr<const GgufFile> file, const KernelFamily& family, ThreadPool& pool,
                                                bool release_pages);

}  // namespace quantfleet
