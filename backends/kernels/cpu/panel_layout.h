// How vector kernels want weights: panels of 16 rows, so that each 32-bit lane of a vector belongs to one row.
//
// A panel of K columns is   [K / block] x block | padding to 64 bytes.   A block is   d[16] | m[16] | [block / 32] x chunk,   a chunk the
// codes of 32 columns | scales of their sub-blocks [32 / sub-block][16] | minima of those:   whoever multiplies one token reads memory in
// ascending order, line by line.
// A *quad* g is 64 bytes: byte 4 r + i holds row r, column 4 g + i, as the operand of a dot product of four bytes. Codes are
// unsigned: code + offset. Codes of fewer bits share bytes inside a chunk of 32 columns (8 quads), most of them where a mask alone gives them:
//   k8    8 vectors:  quad g
//   k6    6 vectors:  low six bits of vector j hold quad j; bits 6, 7 of vectors 0, 1, 2 are quad 6, two bits each, of 3, 4, 5 quad 7
//   k5    5 vectors:  low five bits of vector j hold quad j; bits 5 to 7 of vectors 0, 2, 4 are bits 0 to 2 of quads 5, 6, 7, bits 6, 7 of
//                     vectors 1, 3 bits 3, 4 of quads 5, 6, their bit 5 bits 3 and 4 of quad 7
//   k4    4 vectors:  low nibbles of vector j hold quad j, high nibbles quad j + 4
//   k3    3 vectors:  vectors 0, 1, 2 hold quads 0, 1 and 3, 4 and 6, 7 in six bits; bits 6, 7 of vectors 0, 1 are bits 0, 1 of quads 2, 5,
//                     of vector 2 their bit 2
//   k2    2 vectors:  bits 0, 1 and 4, 5 of vector j are quads 2 j and 2 j + 1, bits 2, 3 and 6, 7 quads 2 j + 4 and 2 j + 5
//   kHalf, kBfloat, kFloat: no quads: [K][16] values, one after another, no scales
// Formats whose codes are uneven or signed values (IQ, MXFP4) store the number of the value in a table of 8 or 16 (CodeTable).
// d: f16 of d divided by the format's unit, or bf16 (MXFP4). m: f16, where the format has a minimum. Scales and minima: a byte for each
// sub-block and row; where both fit a nibble (Q2_K), one byte, scale + 16 minimum.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantfleet {

enum class CodeBits { k8, k6, k5, k4, k3, k2, kHalf, kBfloat, kFloat };

// Values that stored codes stand for; kNone: the code less the offset.
enum class CodeTable { kNone, kIq1, kIq2, kIq3Xxs, kIq3S, kIq4, kFp4 };

// The table plus 128, as the operand of a byte shuffle: vector kernels multiply unsigned bytes and correct by -128 sum(a).
struct alignas(16) TableBytes { unsigned char bytes[16]; };
constexpr TableBytes table_bytes(CodeTable table) {
  constexpr int kValues[][16] = {{},
                                 {-9, -7, -1, 1, 7, 9},
                                 {8, 25, 43, -8, -25, -43},
                                 {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62},
                                 {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15},
                                 {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
                                 {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}};
  TableBytes result{};
  for (int i = 0; i < 16; ++i) result.bytes[i] = static_cast<unsigned char>(kValues[static_cast<int>(table)][i] + 128);
  return result;
}

struct PanelLayout {
  std::uint32_t ggml_type;
  CodeBits bits;
  int offset;       // stored code = code + offset
  int block;        // columns per scale; 1 for the plain types
  int code_bytes;   // per block and panel
  int scale_bytes;  // per block and panel: d, m, scales and minima
  bool nibble_scales;
  CodeTable table = CodeTable::kNone;
  float unit = 1;   // d is a half times this; 0: d is a bf16
};

const PanelLayout* find_panel_layout(std::uint32_t ggml_type);  // nullptr: kernels read the format's own rows
std::int64_t panel_bytes(const PanelLayout& layout, std::int64_t columns);

// Packs rows [16 panel, 16 panel + 16) of a matrix; rows from `rows` on count as zeros.
void pack_panel(const PanelLayout& layout, const unsigned char* row_data, std::int64_t row_bytes, std::int64_t rows,
                std::int64_t columns, std::int64_t panel, unsigned char* target);

}  // namespace quantfleet
