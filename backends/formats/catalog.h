// The weight formats this program knows, by name. find_format and all_formats are in block_format.h.
#pragma once

#include "backends/formats/block_format.h"

namespace quantfleet {

extern const BlockFormat kF32, kF16, kBF16;
extern const BlockFormat kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1;
extern const BlockFormat kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K;

}  // namespace quantfleet
