// Matrices of GPTQ and AWQ: codes under group scales, rounded, checked and packed as the format has them.
#pragma once

#include "backends/calibration/layer_quantization.h"

#include <optional>

namespace quantfleet {

// Error: kBadShape where groups do not divide the inputs.
Status check_groups(const LayerMatrix& matrix, const CalibratedFormat& format);
// Round to nearest; the values become those of the codes.
huggingface::GroupedCodes round_matrix(LayerQuantization& quantization, LayerMatrix& matrix);
// original: what matrix.values stand for.
Status store_codes(LayerQuantization& quantization, const LayerMatrix& matrix, const huggingface::GroupedCodes& codes, std::span<const float> original, const InputMoments& moments);

}  // namespace quantfleet
