// Forward and backward pass of a Llama-architecture model over a batch of sequences, in F32.
//
// The bits of every result are the same for any thread count, instruction set and cut of a batch into parts: products are
// fma chains (gemm_f32.h), gradients of weights are chains over tokens in ascending order that continue from part to part,
// sums inside rows have 16 partial sums (train_ops.h), attention works on blocks of 64 queries of one sequence and one
// key-value head, whose query heads follow each other.
//
//   x = embedding[token]
//   layer:  x += attention(rms_norm(x)) * Wo^T ;   x += (silu(gate) * up) * Wdown^T,  [gate, up] = rms_norm(x) * Wgu^T
//   logits = rms_norm(x) * Wout^T
#pragma once

#include "backends/kernels/gemm_f32.h"
#include "backends/kernels/thread_pool.h"
#include "backends/kernels/train_ops.h"
#include "backends/training/model_shape.h"

#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet::training {

// Sequences one after another. A token sees the tokens before it in its sequence that have segment 0 or its own segment:
// choices that share a prompt lie behind it as segments 1, 2, ... and do not see each other.
struct Batch {
  std::vector<std::uint16_t> tokens;
  std::vector<std::int32_t> positions;  // below the context
  std::vector<std::int32_t> segments;   // empty: all 0
  std::vector<std::int64_t> starts;     // of the sequences, and the end of the last one

  std::int64_t count() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t sequences() const { return static_cast<std::int64_t>(starts.size()) - 1; }
};

class Transformer {
 public:
  // `shape` has passed check(). `weights` and `gradients` hold place_weights(shape).count floats and outlive this.
  Transformer(const ModelShape& shape, const WeightPlaces& places, ThreadPool& pool, const GemmF32Kernel& kernel,
              const TrainOps& ops);

  // Final hidden states after the last norm, [count, width], valid until the next call. Nothing is kept for a backward pass.
  const float* hidden(const float* weights, const Batch& batch);
  // logits [rows.size(), vocabulary] of the given rows of the last hidden().
  const float* logits(const float* weights, std::span<const std::int64_t> rows);

  // Adds the gradient of the sum of scales[t] * (loss of token t) to `gradients`; losses [count] receives each token's
  // -log p(target).
  void backpropagate(const float* weights, const Batch& batch, std::span<const std::uint16_t> targets,
                     std::span<const float> scales,
                     float* gradients, float* losses);

 private:
  struct Layer {  // activations, one row per token
    AlignedFloats normed, inverse, qkv, probabilities, attention, middle, middle_normed, middle_inverse, gate_up, activated;
  };

  void forward(const float* weights, const Batch& batch, bool keep);
  void attention_forward(const Batch& batch, Layer& layer);
  void attention_backward(const Batch& batch, const Layer& layer, const float* doutput, float* dqkv);
  void rotate(const Batch& batch, float* qkv, bool backward);
  void norm(const float* x, const float* weight, std::int64_t rows, float* y, float* inverse);
  void norm_backward(const float* x, const float* weight, const float* inverse, const float* dy, std::int64_t rows,
                     float* dx, float* dweight);
  // Y[rows, n] (+)= X[rows, k] * W[n, k]^T and its gradients.
  void linear(const float* x, const float* w, std::int64_t rows, std::int64_t n, std::int64_t k, float* y, bool accumulate);
  void linear_backward(const float* x, const float* w, const float* dy, std::int64_t rows, std::int64_t n, std::int64_t k,
                       float* dx, float* dw);
  std::int64_t attention_scratch_floats(std::int64_t longest) const;

  const ModelShape shape_;
  const WeightPlaces& places_;
  ThreadPool& pool_;
  const GemmF32Kernel& kernel_;
  const TrainOps& ops_;
  GemmF32 gemm_;
  std::vector<float> cosines_, sines_;  // [context, head_width], for TrainOps::rotate

  std::vector<Layer> layers_;            // one when nothing is kept
  std::vector<AlignedFloats> streams_;   // residual stream before each layer, and after the last
  AlignedFloats final_normed_, final_inverse_, logits_, gathered_;
  AlignedFloats dstream_, dmiddle_, dwide_, dnarrow_, dlogits_;
  std::vector<std::int64_t> probability_starts_;  // of each sequence, per head_ blocks
  std::vector<AlignedFloats> attention_scratch_;
};

}  // namespace quantfleet::training
