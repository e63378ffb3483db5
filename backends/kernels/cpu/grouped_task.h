// A panel of sixteen rows of codes under group scales (backends/formats/grouped_rows.h), and a piece of it to decode: plain data
// for the families' kernels.
//   codes of one width: for every eight columns (the last may be incomplete) a row's codes are a string of 8 * bits bits, the
//     first column's lowest. It is cut into pieces of 32, of 16 and of 8 bits as `bits` is a sum of 4, 2 and 1 (8: two of 32), and each
//     piece of all sixteen rows lies together, little-endian
//   codes of different widths: words of 32 bits of all sixteen rows, little-endian; where a column's code is, `mixed` says
//   scales [groups][16], zeros [groups][16]: F32, F16 or E4M3
#pragma once

#include "backends/formats/mixed_column.h"

#include <cstdint>

namespace quantfleet {

inline constexpr int kWidenedNumbers = 8;  // scales and zero points of four panels

struct GroupedTask {
  const unsigned char* codes = nullptr;       // of the panel
  const unsigned char* scales = nullptr;
  const unsigned char* zeros = nullptr;       // null: none
  int kept = 0;                               // GroupNumbers
  float divisor = 1;                          // kept as E4M3: of every scale
  int bits = 4;
  int numbers = 0;                            // CodeNumbers
  int offset = 0;
  const float* number = nullptr;              // [256], of each code
  std::int64_t group_size = 0, groups = 0;
  const std::uint16_t* group_of = nullptr;    // null: k / group_size
  const MixedColumn* mixed = nullptr;         // [columns]; null: one width. Integers only, with group_of
  std::int64_t begin = 0, end = 0;            // columns; begin is a multiple of 8
  float* tile = nullptr;                      // [end - begin][16], aligned to 64

  // multiply_grouped: `panels` panels from this one on, all columns, whole groups of 8. With group_of, integers only, the tile has
  // kWidenedNumbers [groups][16]; begin is 0.
  std::int64_t panel_bytes = 0;               // from one panel's parts to the next one's
  std::int64_t rows = 0;                      // of all panels; the last may be incomplete
  int panels = 0;
  const float* x = nullptr;                   // [end]
  float* y = nullptr;                         // [rows]
};

}  // namespace quantfleet
