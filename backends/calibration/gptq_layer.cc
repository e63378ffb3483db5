// GPTQ of a layer, sub-layer by sub-layer: what reads the same input is quantized together, what follows sees it quantized.
#include "backends/calibration/grouped_codes.h"

#include <memory>

namespace quantfleet {

Status quantize_layer_gptq(LayerQuantization& quantization, int layer) {
  return quantization.quantize_in_order(layer, [&](const SubLayer& sub_layer) -> Result<LayerQuantization::MatrixQuantizer> {
    const CalibratedOptions& options = quantization.options();
    const CalibratedFormat& format = options.format;
    const InputMoments& moments = sub_layer.moments;
    const LayerMatrix& first = sub_layer.matrices.front();
    if (Status status = check_groups(first, format); !status) return status.error();
    std::shared_ptr<const GptqSolver> solver;
    if (options.error_feedback && moments.columns > 0) {  // an expert that no token met is rounded
      auto made = GptqSolver::create(moments.second, moments.columns, {format.bits, format.group_size, format.symmetric, format.act_order, options.damping, options.search_grid}, quantization.gemm());
      if (!made) return at("tensor " + first.tensor->name, made.error());
      solver = std::make_shared<const GptqSolver>(std::move(*made));
    }
    return [&quantization, solver](LayerMatrix& matrix, const std::string& module) {
      const auto codes = solver ? solver->quantize(matrix.values, matrix.rows(), quantization.gemm(), quantization.pool()) : round_matrix(quantization, matrix);
      return pack_codes(quantization, matrix, module, codes);
    };
  });
}

}  // namespace quantfleet
