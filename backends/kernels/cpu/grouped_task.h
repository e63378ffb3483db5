// A panel of sixteen rows of codes under group scales (backends/formats/grouped_rows.h), and a piece of it to decode: plain data
// for the families' kernels.
//   codes of one width: for every eight columns (the last may be incomplete) a row's codes are a string of 8 * bits bits, the
//     first column's lowest. It is cut into pieces of 32, of 16 and of 8 bits as `bits` is a sum of 4, 2 and 1 (8: two of 32), and each
//     piece of all sixteen rows lies together, little-endian
//   codes of different widths: chunks of eight columns in the order of `order`, each with bits of its own in planes of 4, 2 and 1 as
//     they are their sum, the first plane has the code's lowest bits
//       8 bits: 8 vectors, vector i is column i
//       4 bits: 4 vectors, vector j has column j in the low nibbles, j + 4 in the high ones
//       2 bits: 2 vectors, vector j has columns 4 j + i in bits 2 i, 2 i + 1
//       1 bit:  1 vector, bit i is column i          a vector: 16 bytes, byte r is row r
//   scales [groups][16], zeros [groups][16]: F32, F16 or E4M3
#pragma once

#include <cstdint>

namespace quantfleet {

inline constexpr std::int64_t kMixedWindow = 512;  // columns whose places `order` exchanges
inline constexpr int kWidenedNumbers = 8;          // scales and zero points of four panels

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
  const std::uint32_t* order = nullptr;       // null: one width. The column at each place; integers only, with group_of
  const unsigned char* chunk_bits = nullptr;
  const std::uint32_t* chunk_begin = nullptr; // in 16 bytes
  std::int64_t begin = 0, end = 0;            // columns; begin is a multiple of 8, with `order` of kMixedWindow
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
