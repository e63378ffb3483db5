#include "backends/calibration/grouped_codes.h"

#include "backends/quantizers/group_grid.h"

#include <fmt/format.h>

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

Result<std::vector<huggingface::StoredArray>> pack_codes(const LayerQuantization& quantization, const LayerMatrix& matrix, const std::string& module, const huggingface::GroupedCodes& codes) {
  if (Status status = check_scales(matrix, codes.scales); !status) return status.error();
  if (quantization.options().format.method == CalibratedFormat::Method::kAwq) return huggingface::pack_awq(module, codes);
  return huggingface::pack_gptq(module, codes, false);
}

}  // namespace quantfleet
