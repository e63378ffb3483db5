// The shape of a Llama-architecture model and where each of its tensors lies in the one flat array that holds all weights.
// Gradients and the optimizer's two moments are arrays of the same layout.
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace quantfleet::training {

// RMS norm before attention and feed-forward, rotary positions over adjacent pairs, grouped-query attention, SwiGLU, separate
// output matrix (Touvron et al. 2023). All widths are multiples of 16.
struct ModelShape {
  std::int32_t vocabulary = 1024;
  std::int32_t width = 256;
  std::int32_t layers = 4;
  std::int32_t heads = 4;
  std::int32_t kv_heads = 2;
  std::int32_t head_width = 64;
  std::int32_t feed_forward = 768;
  std::int32_t context = 256;
  float rope_base = 10000.0f;
  float norm_eps = 1e-5f;

  bool operator==(const ModelShape&) const = default;
  std::int64_t query_width() const { return std::int64_t(heads) * head_width; }
  std::int64_t kv_width() const { return std::int64_t(kv_heads) * head_width; }
  std::int64_t qkv_width() const { return query_width() + 2 * kv_width(); }
};

// One sentence about the first field that is out of range or does not fit the others.
Status check(const ModelShape& shape);

// A tensor of the model under its GGUF name: [rows, columns] row-major at `offset` floats; norms have one row.
struct TensorPlace {
  std::string name;
  std::int64_t offset;
  std::int64_t rows;
  std::int64_t columns;
  bool is_norm;
  bool is_residual_output;  // writes into the residual stream: initialised smaller

  std::int64_t count() const { return rows * columns; }
};

// Offsets that the forward and backward pass use. Q, K, V follow each other, and so do gate and up: each group is one
// matrix product.
struct LayerPlaces {
  std::int64_t attention_norm, qkv, attention_output, ffn_norm, gate_up, down;
};
struct WeightPlaces {
  std::vector<TensorPlace> tensors;  // in order of offset
  std::vector<LayerPlaces> layers;
  std::int64_t embedding, output_norm, output, count;
};
WeightPlaces place_weights(const ModelShape& shape);

}  // namespace quantfleet::training
