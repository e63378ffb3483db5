#include "backends/calibration/grouped_codes.h"

#include "backends/quantizers/group_grid.h"

#include <fmt/format.h>

#include <cmath>

namespace quantfleet {

Status check_groups(const LayerMatrix& matrix, const CalibratedFormat& format) {
  if (format.group_size <= 0 || matrix.columns() % format.group_size == 0) return {};
  return Error{Code::kBadShape, fmt::format("tensor {}: {} inputs do not divide into groups of {}", matrix.tensor->name, matrix.columns(), format.group_size)};
}

huggingface::GroupedCodes round_matrix(LayerQuantization& quantization, LayerMatrix& matrix) {
  const CalibratedFormat& format = quantization.options().format;
  const std::int64_t group = format.group_size > 0 ? format.group_size : matrix.columns();
  return round_groups(matrix.values, matrix.rows(), matrix.columns(), format.bits, group, format.symmetric, quantization.pool(), quantization.options().search_grid);
}

Status store_codes(LayerQuantization& quantization, const LayerMatrix& matrix, const huggingface::GroupedCodes& codes, std::span<const float> original, const InputMoments& moments) {
  for (const float scale : codes.scales)
    if (!std::isfinite(scale)) return Error{Code::kBadValue, fmt::format("tensor {}: its weights are too large for scales of binary16", matrix.tensor->name)};
  auto module = quantization.writer().module_name(*matrix.tensor, matrix.expert);
  if (!module) return module.error();
  const bool awq = quantization.options().format.method == CalibratedFormat::Method::kAwq;
  auto arrays = awq ? huggingface::pack_awq(*module, codes) : huggingface::pack_gptq(*module, codes, false);
  if (!arrays) return arrays.error();
  return quantization.store(matrix, *arrays, matrix.values, original, moments);
}

}  // namespace quantfleet
