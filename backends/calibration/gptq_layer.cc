// GPTQ of a layer, sub-layer by sub-layer: what reads the same input is quantized together, what follows sees it quantized.
#include "backends/calibration/grouped_codes.h"
#include "backends/quantizers/gptq.h"

namespace quantfleet {

Status quantize_layer_gptq(LayerQuantization& quantization, int layer) {
  const CalibratedOptions& options = quantization.options();
  const CalibratedFormat& format = options.format;
  const auto quantize = [&](SubLayer& sub_layer) -> Status {
    const InputMoments& moments = sub_layer.moments;
    const std::string& first = sub_layer.matrices.front().tensor->name;
    std::optional<GptqSolver> solver;
    if (Status status = check_groups(sub_layer.matrices.front(), format); !status) return status;
    if (options.error_feedback && moments.columns > 0) {  // an expert that no token met is rounded
      auto made = GptqSolver::create(moments.second, moments.columns, {format.bits, format.group_size, format.symmetric, format.act_order, options.damping, options.search_grid}, quantization.gemm());
      if (!made) return at("tensor " + first, made.error());
      solver = std::move(*made);
    }
    for (LayerMatrix& matrix : sub_layer.matrices) {
      const std::vector<float> original = matrix.values;
      const auto codes = solver ? solver->quantize(matrix.values, matrix.rows(), quantization.gemm(), quantization.pool()) : round_matrix(quantization, matrix);
      if (Status status = store_codes(quantization, matrix, codes, original, moments); !status) return status;
      if (Status status = quantization.replace(matrix, matrix.values); !status) return status;
    }
    return {};
  };
  for (const ProductInput input : kAllLayerInputs)
    if (Status status = quantization.visit(layer, input, true, quantize); !status) return status;
  return {};
}

}  // namespace quantfleet
