// Rows of codes of 1 to 8 bits with a scale, and maybe a zero point, per group of inputs, as GPTQ, AWQ, HQQ, bitsandbytes,
// compressed-tensors, FP8 and EXL2 checkpoints have them: a block is a row.
//   u64 the format's address | f32 scales[groups] | f32 zeros[groups], where it has them | u8 codes[columns]
//   value = (number(code) - zero) * scale, the difference rounded (integers: exact), the product rounded; scale: the stored one / divisor,
//   rounded, where group numbers are kE4m3
// Activations stay F32. Not a GGUF format: these blocks exist in memory only.
#pragma once

#include "backends/formats/block_format.h"
#include "backends/formats/mixed_column.h"

#include <array>
#include <cstdint>
#include <vector>

namespace quantfleet {

inline constexpr std::uint32_t kGroupedRowsType = 0x80000002;  // above every number of GGUF
inline constexpr std::int64_t kGroupedRowsMaxColumns = 1 << 20;

// What a code stands for.
enum class CodeNumbers {
  kIntegers,  // code - offset
  kTable,     // table[code]; 1 or 4 bits
  kE4m3,      // 8 bits: FP8, OCP E4M3 without infinities
  kE5m2,      // 8 bits: FP8, E5M2
};

// What the scales and zero points of groups are, so that memory holds no more than that.
enum class GroupNumbers { kFloats, kHalves, kE4m3 };

struct GroupedRows {
  CodeNumbers numbers = CodeNumbers::kIntegers;
  int bits = 4;
  int offset = 0;                       // kIntegers
  std::vector<std::uint8_t> bits_of;    // [columns], for kIntegers whose width differs from column to column, 2 to 8, offset 2^(bits - 1); empty: `bits`
  std::array<float, 16> table{};        // kTable
  std::int64_t columns = 0;
  std::int64_t group_size = 0;          // groups of neighbours
  std::vector<std::uint16_t> group_of;  // [columns], for other groups; empty: k / group_size
  std::int64_t groups = 0;
  bool zeros = false;
  GroupNumbers kept = GroupNumbers::kFloats;
  float divisor = 1;                    // kE4m3: of every scale; no zero points then
};

// Where codes of different widths lie: every 512 columns share words, filled as far as their widths allow (1/16 stays empty where
// all have 3, 5 or 6 bits; hardly anything where these are mixed with 4 or 2 bits).
inline constexpr std::int64_t kWidthWindow = 512;
struct MixedWidths {
  std::vector<MixedColumn> columns;  // [columns]; empty: one width
  std::int64_t words = 0;            // of a row
};

struct GroupedRowsFormat {
  BlockFormat block;
  GroupedRows rows;
  std::array<float, 256> number;        // of each code
  MixedWidths widths;                   // of rows.bits_of
};

// One object for equal descriptions, alive for ever.  1 <= columns <= kGroupedRowsMaxColumns; 1 <= groups <= 65536.
const BlockFormat* grouped_rows_format(const GroupedRows& rows);
// nullptr: another format.
const GroupedRowsFormat* as_grouped_rows(const BlockFormat& format);

// Writes a block.  codes [columns], scales [groups], zeros [groups] or nullptr.
void store_grouped_row(const GroupedRowsFormat& format, const std::uint8_t* codes, const float* scales, const float* zeros, std::byte* block);

}  // namespace quantfleet
