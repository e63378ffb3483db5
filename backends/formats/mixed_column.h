// Codes whose width differs from column to column (EXL2) in memory: words of 32 bits, each code within one. Plain data, for the kernels too.
#pragma once

#include <cstdint>

namespace quantfleet {

struct MixedColumn {
  std::uint32_t word;   // of a row
  std::uint32_t shift;  // the code's lowest bit there
  std::uint32_t mask;   // 2^bits - 1
  float middle;         // 2^23 + 2^(bits - 1): code c stands for (2^23 + c) - middle
};

}  // namespace quantfleet
