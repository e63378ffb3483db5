// W8A8 with static scales of a layer: the largest input over the calibration text becomes the scale of its int8 codes, after SmoothQuant where
// it is asked for. Inputs are those of the model as it is. The experts of a layer share their scales, so that they run as one stack.
#include "backends/calibration/layer_quantization.h"
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/smoothquant.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet {

namespace {

class Int8Layer {
 public:
  Int8Layer(LayerQuantization& quantization, int layer) : quantization_(quantization), layer_(layer), alpha_(quantization.options().smoothing) {}

  Status run() {
    if (Status status = pair(ProductInput::kQkv, ProductInput::kAttentionOutput, "attn_norm"); !status) return status;
    if (Status status = pair(ProductInput::kGateUp, ProductInput::kDown, "ffn_norm"); !status) return status;
    if (Status status = pair(ProductInput::kSharedGateUp, ProductInput::kSharedDown, ""); !status) return status;
    return experts();
  }

 private:
  // What reads the stream and what multiplies its result.
  Status pair(ProductInput first, ProductInput second, std::string_view norm) {
    auto in = quantization_.observe(layer_, first, 0, 1, false), out = quantization_.observe(layer_, second, 0, 1, false);
    if (!in) return in.error();
    if (!out) return out.error();
    if (in->empty() || out->empty()) return {};
    // A norm that two inputs share (parallel residuals, a router beside the experts) cannot take the scales of one.
    const bool own_norm = !quantization_.config().parallel_residual && !quantization_.has(layer_, "attn_norm_2.weight");
    if (alpha_ > 0 && own_norm && !norm.empty() && quantization_.has(layer_, std::string(norm) + ".weight")) {
      const std::vector<float> scales = smooth(in->front());
      for (const char* part : {".weight", ".bias"})
        if (Status status = quantization_.divide_vector(fmt::format("blk.{}.{}{}", layer_, norm, part), scales); !status) return status;
    }
    // Values become the output's input without a change of their columns; up's rows are factors of down's input.
    LayerMatrix& last = in->front().matrices.back();
    const bool passes_on = first == ProductInput::kQkv ? last.is("attn_v") && last.rows() == out->front().moments.columns : in->front().matrices.size() == 2;
    if (alpha_ > 0 && passes_on)
      if (Status status = quantization_.divide_rows(last, smooth(out->front())); !status) return status;
    for (SubLayer* sub_layer : {&in->front(), &out->front()})
      if (Status status = store(*sub_layer, largest(sub_layer->moments)); !status) return status;
    return {};
  }

  Status experts() {
    for (const ProductInput input : {ProductInput::kExpertGateUp, ProductInput::kExpertDown}) {
      float most = 0;
      const auto look = [&](SubLayer& sub_layer) -> Status { return most = std::max(most, largest(sub_layer.moments)), Status(); };
      if (Status status = quantization_.visit(layer_, input, false, look); !status) return status;
      if (Status status = quantization_.visit(layer_, input, false, [&](SubLayer& sub_layer) { return store(sub_layer, most); }); !status) return status;
    }
    return {};
  }

  std::vector<float> smooth(SubLayer& sub_layer) const {
    std::vector<std::span<const float>> views;
    for (const LayerMatrix& matrix : sub_layer.matrices) views.emplace_back(matrix.values);
    std::vector<float> scales = smoothing_scales(sub_layer.moments.max_magnitude, views, alpha_);
    LayerQuantization::scale_columns(sub_layer, scales);
    return scales;
  }

  static float largest(const InputMoments& moments) {
    return moments.max_magnitude.empty() ? 0 : *std::max_element(moments.max_magnitude.begin(), moments.max_magnitude.end());
  }

  Status store(SubLayer& sub_layer, float largest_input) {
    for (LayerMatrix& matrix : sub_layer.matrices) {
      auto module = quantization_.writer().module_name(*matrix.tensor, matrix.expert);
      if (!module) return module.error();
      const LinearInput weight{*module, matrix.rows(), matrix.columns(), matrix.values, {}};
      std::vector<float> values(matrix.values.size());
      const auto arrays = quantize_w8a8_static(weight, static_input_scale(largest_input), values, quantization_.pool());
      if (Status status = quantization_.store(matrix, arrays, values, matrix.values, sub_layer.moments); !status) return status;
      matrix.values = {};
    }
    return {};
  }

  LayerQuantization& quantization_;
  int layer_;
  double alpha_;
};

}  // namespace

Status quantize_layer_int8(LayerQuantization& quantization, int layer) { return Int8Layer(quantization, layer).run(); }

}  // namespace quantfleet
