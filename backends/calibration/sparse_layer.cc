// SparseGPT of a layer: two of every four inputs and their codes, sub-layer by sub-layer as GPTQ.
#include "backends/calibration/layer_quantization.h"
#include "backends/quantizers/sparse_gpt.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

namespace quantfleet {

Status quantize_layer_sparse(LayerQuantization& quantization, int layer) {
  const CalibratedOptions& options = quantization.options();
  const auto quantize = [&](SubLayer& sub_layer) -> Status {
    const InputMoments& moments = sub_layer.moments;
    const LayerMatrix& first = sub_layer.matrices.front();
    const std::int64_t K = first.columns(), group = options.format.group_size > 0 ? options.format.group_size : K;
    if (K % 8 != 0 || K % group != 0 || group % 4 != 0)
      return Error{Code::kBadShape, fmt::format("tensor {}: {} inputs do not divide into eights and into groups of {}", first.tensor->name, K, group)};
    std::vector<float> equal;  // inputs of an expert that no token met, or of rounding: no feedback
    if (moments.columns == 0 || !options.error_feedback) {
      equal.resize(static_cast<std::size_t>(K * K));
      for (std::int64_t k = 0; k < K; ++k) {
        const float square = moments.columns == 0 ? 1.0f : moments.second[static_cast<std::size_t>(k * K + k)];
        equal[static_cast<std::size_t>(k * K + k)] = square;
      }
    }
    auto feedback = ErrorFeedback::create(equal.empty() ? std::span<const float>(moments.second) : equal, K, false, options.damping, quantization.gemm());
    if (!feedback) return at("tensor " + first.tensor->name, feedback.error());
    for (LayerMatrix& matrix : sub_layer.matrices) {
      const std::vector<float> original = matrix.values;
      const huggingface::SparseCodes codes = prune_and_quantize(matrix.values, matrix.rows(), *feedback, options.format.bits, group, quantization.gemm(), quantization.pool());
      for (const float scale : codes.scales)
        if (!std::isfinite(scale)) return Error{Code::kBadValue, fmt::format("tensor {}: its weights are too large for scales of binary16", matrix.tensor->name)};
      auto module = quantization.writer().module_name(*matrix.tensor, matrix.expert);
      if (!module) return module.error();
      const auto arrays = huggingface::pack_sparse(*module, codes);
      if (!arrays) return arrays.error();
      if (Status status = quantization.store(matrix, *arrays, matrix.values, original, moments); !status) return status;
      if (Status status = quantization.replace(matrix, matrix.values); !status) return status;
    }
    return {};
  };
  for (const ProductInput input : kAllLayerInputs)
    if (Status status = quantization.visit(layer, input, true, quantize); !status) return status;
  return {};
}

}  // namespace quantfleet
