// SparseGPT of a layer: two of every four inputs and their codes, sub-layer by sub-layer as GPTQ.
#include "backends/calibration/layer_quantization.h"
#include "backends/quantizers/sparse_gpt.h"

#include <fmt/format.h>

#include <memory>

namespace quantfleet {

Status quantize_layer_sparse(LayerQuantization& quantization, int layer) {
  return quantization.quantize_in_order(layer, [&](const SubLayer& sub_layer) -> Result<LayerQuantization::MatrixQuantizer> {
    const CalibratedFormat& format = quantization.options().format;
    const LayerMatrix& first = sub_layer.matrices.front();
    const std::int64_t K = first.columns(), group = format.group_size > 0 ? format.group_size : K;
    if (K % 8 != 0 || K % group != 0 || group % 4 != 0)
      return Error{Code::kBadShape, fmt::format("tensor {}: {} inputs do not divide into eights and into groups of {}", first.tensor->name, K, group)};
    auto made = quantization.feedback_of(sub_layer, false);
    if (!made) return made.error();
    const auto feedback = std::make_shared<const ErrorFeedback>(std::move(*made));
    return [&quantization, feedback, group](LayerMatrix& matrix, const std::string& module) -> Result<std::vector<huggingface::StoredArray>> {
      const int bits = quantization.options().format.bits;
      const huggingface::SparseCodes codes = prune_and_quantize(matrix.values, matrix.rows(), *feedback, bits, group, quantization.gemm(), quantization.pool());
      if (Status status = check_scales(matrix, codes.scales); !status) return status.error();
      return huggingface::pack_sparse(module, codes);
    };
  });
}

}  // namespace quantfleet
