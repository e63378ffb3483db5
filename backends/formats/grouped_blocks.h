// GGUF's formats whose values are short codes times one scale a group, as rows of codes under group scales (grouped_rows.h): the
// same values, bit for bit, in a form that the kernels multiply without decoding one value after the other.
#pragma once

#include "backends/formats/grouped_rows.h"

namespace quantfleet {

// For NVFP4, Q1_0 and Q2_0; nullptr: another format, or more than kGroupedRowsMaxColumns columns.
const GroupedRowsFormat* grouped_rows_of(const BlockFormat& format, std::int64_t columns);

// row: a row of such blocks;  block: block.bytes_per_block bytes of grouped_rows_of(format, columns).
void to_grouped_row(const BlockFormat& format, const GroupedRowsFormat& grouped, const std::byte* row, std::byte* block);

}  // namespace quantfleet
