// The weight formats this program knows, by name. find_format and all_formats are in block_format.h.
#pragma once

#include "backends/formats/block_format.h"

namespace quantfleet {

extern const BlockFormat kF32, kF16, kBF16;
extern const BlockFormat kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1;
extern const BlockFormat kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K;
extern const BlockFormat kIQ1_S, kIQ1_M, kIQ2_XXS, kIQ2_XS, kIQ2_S, kIQ3_XXS, kIQ3_S, kIQ4_NL, kIQ4_XS;
extern const BlockFormat kTQ1_0, kTQ2_0, kQ1_0, kQ2_0, kMXFP4, kNVFP4;

}  // namespace quantfleet
