// Matrices of GPTQ and AWQ: codes under group scales, rounded and packed as the format has them.
#pragma once

#include "backends/calibration/layer_quantization.h"

#include <optional>

namespace quantfleet {

// Error: kBadShape where groups do not divide the inputs.
Status check_groups(const LayerMatrix& matrix, const CalibratedFormat& format);
// Round to nearest; the values become those of the codes.
huggingface::GroupedCodes round_matrix(LayerQuantization& quantization, LayerMatrix& matrix);
// The arrays of a module in the method's packing. Error: kBadValue where a scale is beyond binary16.
Result<std::vector<huggingface::StoredArray>> pack_codes(const LayerQuantization& quantization, const LayerMatrix& matrix, const std::string& module, const huggingface::GroupedCodes& codes);

}  // namespace quantfleet
