// What all calibrated methods share: the model as it is and as the layers that follow see it, the walk over the windows, the folder that is
// written and the report. A method is a function that quantizes one layer with it.
#pragma once

#include "backends/calibration/adaptive_mix.h"
#include "backends/calibration/importance.h"
#include "backends/calibration/layer_walk.h"
#include "backends/calibration/quantize_checkpoint.h"
#include "backends/calibration/replaced_tensors.h"
#include "backends/huggingface/checkpoint_writer.h"
#include "backends/quantizers/exl2.h"
#include "backends/quantizers/gptq.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace quantfleet {

// A matrix of a layer: a tensor, or one expert of a mixture's. values [N, K]: rows as in the checkpoint.
struct LayerMatrix {
  const GgufTensor* tensor = nullptr;
  std::int64_t expert = 0;
  std::vector<float> values = {};

  std::int64_t rows() const { return tensor->shape[1]; }
  std::int64_t columns() const { return tensor->columns(); }
  bool is(std::string_view part) const { return tensor->name.ends_with("." + std::string(part) + ".weight"); }
};

// The matrices that multiply the same input, and what it was over the windows. Of an expert that no token met the moments have no columns.
struct SubLayer {
  InputMoments moments;
  std::vector<LayerMatrix> matrices;
};

class LayerQuantization {
 public:
  LayerQuantization(std::shared_ptr<const GgufFile> model, const CalibratedOptions& options, const KernelFamily& family);

  // Every layer by `quantize_layer`, then what is left as it is. measure_layer, where there is one, goes over all layers first, and `choose` follows.
  struct Method {
    std::function<Status(LayerQuantization&, int layer)> quantize_layer, measure_layer;
    std::function<Status()> choose;
  };
  Status run(huggingface::CheckpointWriter& writer, const CalibrationText& text, CalibratedReport& report, const Method& method);

  // The sub-layers that multiply `input`, one, or one for each expert (several at a time: their moments share 1 GiB); none where the layer has no
  // such product. quantized: inputs are those behind what was replaced so far.
  Status visit(int layer, ProductInput input, bool quantized, const std::function<Status(SubLayer&)>& body);
  // The same, all inputs in the order of the forward pass.
  Status visit(int layer, bool quantized, const std::function<Status(SubLayer&)>& body);
  // The same, experts `first` .. first + count - 1.
  Result<std::vector<SubLayer>> observe(int layer, ProductInput input, std::int64_t first, std::int64_t count, bool quantized);

  // Quantizes one matrix of a sub-layer: its values become those of the codes that are returned, packed for the module of that name.
  using MatrixQuantizer = std::function<Result<std::vector<huggingface::StoredArray>>(LayerMatrix&, const std::string& module)>;
  // Each sub-layer of a layer by what `prepare` makes of it, behind the quantized ones before it.
  Status quantize_in_order(int layer, const std::function<Result<MatrixQuantizer>(const SubLayer&)>& prepare);
  // Of a sub-layer's input. Nothing is passed on where no token met it, or with --round-to-nearest. Errors: those of ErrorFeedback, with the tensor.
  Result<ErrorFeedback> feedback_of(const SubLayer& sub_layer, bool by_importance);

  // Progress of measuring; kInterrupted.
  Status measured(std::size_t weights);
  // Writes and reports one matrix. values: what the arrays mean; original: what they stand for.
  Status store(const LayerMatrix& matrix, std::span<const huggingface::StoredArray> arrays, std::span<const float> values, std::span<const float> original,
               const InputMoments& moments);
  // Layers and products that follow see these values.
  Status replace(const LayerMatrix& matrix, std::span<const float> values);

  bool has(int layer, std::string_view name) const { return model().find_tensor("blk." + std::to_string(layer) + "." + std::string(name)) != nullptr; }
  // Divides a vector of the model (a norm, a bias) by the scales and writes it; nothing where there is none.
  Status divide_vector(const std::string& name, std::span<const float> scales);
  // Multiplies the columns of a sub-layer's matrices, and divides the moments of their inputs.
  static void scale_columns(SubLayer& sub_layer, std::span<const float> scales);
  // Rows of a matrix, and its bias, give what the columns behind it were multiplied by.
  Status divide_rows(LayerMatrix& matrix, std::span<const float> scales);

  const GgufFile& model() const { return *model_; }
  const CalibratedOptions& options() const { return options_; }
  const ModelConfig& config() const { return walk_.config(); }
  huggingface::CheckpointWriter& writer() { return *writer_; }
  ThreadPool& pool() { return pool_; }
  GemmF32& gemm() { return gemm_; }

 private:
  // Of a tensor, over its experts so far.
  struct Sums {
    std::uint64_t values = 0;
    double squares = 0, error = 0, energy = 0;
    std::size_t place = 0;  // in the report
  };
  LayerWalk::Progress pass(std::uint64_t weights) const;
  Status walk(const CalibrationText& text, const std::function<Status(LayerQuantization&, int layer)>& layer);

  std::shared_ptr<const GgufFile> model_;
  std::shared_ptr<ReplacedTensors> seen_;
  const CalibratedOptions& options_;
  ThreadPool pool_;
  GemmF32 gemm_;
  LayerWalk walk_;
  huggingface::CheckpointWriter* writer_ = nullptr;
  CalibratedReport* report_ = nullptr;
  std::set<std::string> written_;
  std::map<std::string, Sums> sums_;
  std::uint64_t weights_done_ = 0, weights_total_ = 0;
};

// In the order of the forward pass.
inline constexpr ProductInput kAllLayerInputs[] = {ProductInput::kQkv,          ProductInput::kAttentionOutput, ProductInput::kGateUp,       ProductInput::kDown,
                                                   ProductInput::kExpertGateUp, ProductInput::kExpertDown,      ProductInput::kSharedGateUp, ProductInput::kSharedDown};
// Error: kBadValue where a scale is beyond binary16.
Status check_scales(const LayerMatrix& matrix, std::span<const float> scales);

inline bool is_of_experts(ProductInput input) { return input == ProductInput::kExpertGateUp || input == ProductInput::kExpertDown; }

Status quantize_layer_gptq(LayerQuantization& quantization, int layer);  // gptq_layer.cc
Status quantize_layer_awq(LayerQuantization& quantization, int layer);   // awq_layer.cc
Status quantize_layer_int8(LayerQuantization& quantization, int layer);  // int8_layer.cc: static activation scales, SmoothQuant
Status quantize_layer_sparse(LayerQuantization& quantization, int layer);  // sparse_layer.cc: SparseGPT

// exl2_layer.cc: the options of all matrices, and which were chosen.
class Exl2Plan {
 public:
  Status measure_layer(LayerQuantization& quantization, int layer);
  Status choose(double bits_per_weight);  // Error: kBadValue below the smallest options
  Status quantize_layer(LayerQuantization& quantization, int layer) const;

 private:
  std::vector<std::vector<FormatOption>> options_;  // of each matrix: in bits, where FormatOption says bytes
  std::map<std::string, std::size_t> places_;       // of a tensor and expert
  std::vector<std::size_t> chosen_;
  double weights_ = 0;
};

}  // namespace quantfleet
