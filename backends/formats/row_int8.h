// Rows of int8 codes under one scale each, as W8A8, LLM.int8 and BitNet checkpoints have them: a block is a row.
//   i32 columns | f32 scale | int8 codes[columns]        value = scale * code
// Activations are int8, too: one scale per token, or a calibrated one for all; columns whose activation reaches the outlier
// threshold are left out and multiplied as floats (LLM.int8). Not a GGUF format: these blocks exist in memory only.
#pragma once

#include "backends/formats/block_format.h"

#include <cstdint>

namespace quantfleet {

inline constexpr std::uint32_t kRowInt8Type = 0x80000001;  // above every number of GGUF
inline constexpr int kRowInt8HeaderBytes = 8;
inline constexpr std::int64_t kRowInt8MaxColumns = 1 << 16;  // sums of products fit 32 bits

struct RowInt8Format {
  BlockFormat block;          // of rows of block.values_per_block columns
  float input_scale;          // static, > 0: code = x / input_scale;  0: per token
  float outlier_threshold;    // > 0: |x| from here on is an outlier;  0: none
};

// One object for equal numbers, alive for ever.  1 <= columns <= kRowInt8MaxColumns.
const BlockFormat* row_int8_format(std::int64_t columns, float input_scale, float outlier_threshold);
// nullptr: another format.
const RowInt8Format* as_row_int8(const BlockFormat& format);

}  // namespace quantfleet
