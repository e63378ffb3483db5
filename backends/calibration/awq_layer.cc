// AWQ of a layer: scales between what computes an input and what multiplies it, ranges, codes. Inputs are those of the model as it is.
#include "backends/calibration/grouped_codes.h"
#include "backends/quantizers/awq.h"

#include <fmt/format.h>

namespace quantfleet {

namespace {

class AwqLayer {
 public:
  AwqLayer(LayerQuantization& quantization, int layer)
      : quantization_(quantization), layer_(layer), scales_pay_(quantization.options().error_feedback),
        // A norm that two inputs share (parallel residuals, a router beside the experts) cannot take the scales of both.
        own_norms_(!quantization.config().parallel_residual && !quantization.has(layer, "attn_norm_2.weight")) {}

  Status run() {
    if (Status status = attention(); !status) return status;
    if (Status status = feed_forward(ProductInput::kGateUp, ProductInput::kDown, 0); !status) return status;
    if (Status status = feed_forward(ProductInput::kSharedGateUp, ProductInput::kSharedDown, 0); !status) return status;
    const std::vector<std::string> experts = weights_behind(quantization_.model(), layer_, ProductInput::kExpertDown);
    for (std::int64_t e = 0; !experts.empty() && e < quantization_.model().find_tensor(experts.front())->shape[2]; ++e)
      if (Status status = feed_forward(ProductInput::kExpertGateUp, ProductInput::kExpertDown, e); !status) return status;
    return {};
  }

 private:
  Result<std::optional<SubLayer>> observe(ProductInput input, std::int64_t expert) {
    auto sub_layers = quantization_.observe(layer_, input, expert, 1, false);
    if (!sub_layers) return sub_layers.error();
    if (sub_layers->empty()) return std::optional<SubLayer>();
    for (const LayerMatrix& matrix : sub_layers->front().matrices)
      if (Status status = check_groups(matrix, quantization_.options().format); !status) return status.error();
    return std::optional<SubLayer>(std::move(sub_layers->front()));
  }

  static LayerMatrix* find(SubLayer& sub_layer, std::string_view part) {
    for (LayerMatrix& matrix : sub_layer.matrices)
      if (matrix.is(part)) return &matrix;
    return nullptr;
  }

  AwqOptions options(std::int64_t columns) const {
    const CalibratedFormat& format = quantization_.options().format;
    return {format.bits, format.group_size > 0 ? format.group_size : columns, 20, 20};
  }

  // The best scales of the columns of a sub-layer's matrices, applied to them and to the moments of their inputs.
  std::vector<float> scale(SubLayer& sub_layer) {
    std::vector<std::span<const float>> views;
    for (const LayerMatrix& matrix : sub_layer.matrices) views.emplace_back(matrix.values);
    const InputMoments& moments = sub_layer.moments;
    const std::vector<float> scales = search_scales({moments.mean_magnitude, moments.second}, views, options(moments.columns), quantization_.gemm(), quantization_.pool());
    LayerQuantization::scale_columns(sub_layer, scales);
    return scales;
  }

  Status scale_behind_norm(SubLayer& sub_layer, std::string_view norm) {
    if (!scales_pay_ || !own_norms_ || !quantization_.has(layer_, std::string(norm) + ".weight")) return {};
    const std::vector<float> scales = scale(sub_layer);
    for (const char* part : {".weight", ".bias"})
      if (Status status = quantization_.divide_vector(fmt::format("blk.{}.{}{}", layer_, norm, part), scales); !status) return status;
    return {};
  }

  Status finish(SubLayer& sub_layer) {
    const InputMoments& moments = sub_layer.moments;
    for (LayerMatrix& matrix : sub_layer.matrices) {
      const std::vector<float> scaled = matrix.values;
      const bool makes_scores = matrix.is("attn_q") || matrix.is("attn_k") || matrix.is("attn_qkv");
      if (scales_pay_ && !makes_scores && moments.columns > 0)
        clip_groups(matrix.values, matrix.rows(), moments.second, moments.columns, options(moments.columns), quantization_.gemm(), quantization_.pool());
      const auto module = quantization_.writer().module_name(*matrix.tensor, matrix.expert);
      if (!module) return module.error();
      const auto arrays = pack_codes(quantization_, matrix, *module, round_matrix(quantization_, matrix));
      if (!arrays) return arrays.error();
      if (Status status = quantization_.store(matrix, *arrays, matrix.values, scaled, moments); !status) return status;
      matrix.values = {};
    }
    return {};
  }

  Status attention() {
    auto inputs = observe(ProductInput::kQkv, 0), outputs = observe(ProductInput::kAttentionOutput, 0);
    if (!inputs) return inputs.error();
    if (!outputs) return outputs.error();
    if (!*inputs || !*outputs) return Error{Code::kNotFound, fmt::format("layer {} has no attention", layer_)};
    if (Status status = scale_behind_norm(**inputs, "attn_norm"); !status) return status;
    LayerMatrix* value = find(**inputs, "attn_v");
    if (scales_pay_ && value && value->rows() == (*outputs)->moments.columns)
      if (Status status = quantization_.divide_rows(*value, scale(**outputs)); !status) return status;
    if (Status status = finish(**inputs); !status) return status;
    return finish(**outputs);
  }

  Status feed_forward(ProductInput up_input, ProductInput down_input, std::int64_t expert) {
    auto ups = observe(up_input, expert), downs = observe(down_input, expert);
    if (!ups) return ups.error();
    if (!downs) return downs.error();
    if (!*ups || !*downs) return {};
    if (up_input == ProductInput::kGateUp)
      if (Status status = scale_behind_norm(**ups, "ffn_norm"); !status) return status;
    LayerMatrix& up = (*ups)->matrices.back();
    if (scales_pay_ && (*ups)->matrices.size() == 2 && (*downs)->moments.columns > 0)
      if (Status status = quantization_.divide_rows(up, scale(**downs)); !status) return status;
    if (Status status = finish(**ups); !status) return status;
    return finish(**downs);
  }

  LayerQuantization& quantization_;
  int layer_;
  bool scales_pay_, own_norms_;
};

}  // namespace

Status quantize_layer_awq(LayerQuantization& quantization, int layer) { return AwqLayer(quantization, layer).run(); }

}  // namespace quantfleet
