// Walks a calibration text through a model layer by layer: only one layer's weights are in memory, together with the residual
// stream of all windows (tokens * C floats). Each layer may be asked several times what its products multiply, with tensors
// replaced in between, before the windows move on: GPTQ's layers and sub-layers see the quantized ones before them.
#pragma once

#include "backends/calibration/calibration_text.h"
#include "backends/formats/gguf.h"
#include "backends/kernels/gemm_f32.h"
#include "backends/models/transformer.h"

#include <functional>
#include <memory>
#include <vector>

namespace quantfleet {

inline constexpr ProductInput kLayerInputs[] = {ProductInput::kQkv, ProductInput::kAttentionOutput, ProductInput::kGateUp, ProductInput::kDown};

// The kernels of F32 matrix products that go with a family; the bits are the same with any.
const GemmF32Kernel& gemm_kernel_of(const KernelFamily& family);

// Second moments of the inputs of one matrix product, K of them.
struct InputMoments {
  std::int64_t columns = 0, count_tokens = 0;
  std::vector<float> second;          // [K, K]: the sum of x x^T, one fused chain per element over the tokens
  std::vector<double> mean_magnitude; // [K]: the mean |x|
  std::vector<float> max_magnitude;   // [K]: the largest |x|
};

class LayerWalk {
 public:
  // Called behind every window with the share of the pass that is done; false: stop with kInterrupted.
  using Progress = std::function<bool(double share)>;

  LayerWalk(const KernelFamily& family, ThreadPool& pool, GemmF32& gemm) : family_(family), pool_(pool), gemm_(gemm) {}

  // Embeds the windows. Errors: those of the model's embedding, kTooLarge for learned positions.
  Status start(std::shared_ptr<const GgufFile> file, const CalibrationText& text);
  // What this product of layer `layer` multiplies over all windows.  Error: kNonFinite.
  Result<InputMoments> observe(std::shared_ptr<const GgufFile> file, int layer, ProductInput input, const Progress& progress);
  // The same of `count` experts of a mixture, from `first` on. An expert that no token met has no columns.
  Result<std::vector<InputMoments>> observe_experts(std::shared_ptr<const GgufFile> file, int layer, ProductInput input, std::int64_t first, std::int64_t count, const Progress& progress);
  // What the output matrix multiplies, behind the last layer.
  Result<InputMoments> observe_output(std::shared_ptr<const GgufFile> file);
  // Passes all windows through the layer.
  Status advance(std::shared_ptr<const GgufFile> file, int layer, const Progress& progress);

  const ModelConfig& config() const { return config_; }

 private:
  Status run(const std::shared_ptr<const Model>& model, bool to_output, InputObserver* observer, const Progress& progress);

  const KernelFamily& family_;
  ThreadPool& pool_;
  GemmF32& gemm_;
  ModelConfig config_;
  std::int64_t window_tokens_ = 0, count_windows_ = 0;
  std::vector<float> states_;  // [windows][tokens][C]
};

}  // namespace quantfleet
