// How vector kernels want weights: panels of 16 rows, so that each 32-bit lane of a vector belongs to one row.
//
// A panel of K columns is   codes: [K / block] x code_bytes | scales: [K / block] x scale_bytes | padding to 64 bytes.
// A *quad* g is 64 bytes: byte 4 r + i holds row r, column 4 g + i, as the operand of a dot product of four bytes. Codes are
// unsigned: code + offset. Codes of fewer bits share bytes inside a chunk of 32 columns (8 quads):
//   k8    8 vectors:  quad g
//   k4    4 vectors:  low nibbles of vector j hold quad j, high nibbles quad j + 4
//   k4h1  k4 + 1:     bit g of the last vector is bit 4 of quad g
//   k4h2  k4 + 2:     bits 2 (g % 4) .. + 1 of vector 4 + g / 4 are bits 4, 5 of quad g
//   k2    2 vectors:  bits 2 (g % 4) .. + 1 of vector g / 4 are quad g
//   k2h1  k2 + 1:     bit g of the last vector is bit 2 of quad g
//   kHalf, kBfloat, kFloat: no quads: [K][16] values, one after another, no scales
// The scales of a block: f16 d[16]; f16 m[16] with a minimum; then a byte for each sub-block and row: scales [subs][16];
// then minima [subs][16]; where both fit a nibble (Q2_K), one byte, scale + 16 minimum.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantfleet {

enum class CodeBits { k8, k4, k4h1, k4h2, k2, k2h1, kHalf, kBfloat, kFloat };

struct PanelLayout {
  std::uint32_t ggml_type;
  CodeBits bits;
  int offset;       // stored code = code + offset
  int block;        // columns per scale; 1 for the plain types
  int code_bytes;   // per block and panel
  int scale_bytes;  // per block and panel
  bool nibble_scales;
};

const PanelLayout* find_panel_layout(std::uint32_t ggml_type);  // nullptr: kernels read the format's own rows
std::int64_t panel_bytes(const PanelLayout& layout, std::int64_t columns);

// Packs rows [16 panel, 16 panel + 16) of a matrix; rows from `rows` on count as zeros.
void pack_panel(const PanelLayout& layout, const unsigned char* row_data, std::int64_t row_bytes, std::int64_t rows,
                std::int64_t columns, std::int64_t panel, unsigned char* target);

}  // namespace quantfleet
