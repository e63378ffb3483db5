// Matrices of codes under group scales (backends/formats/grouped_rows.h) inside WeightMatrix: how they are packed and multiplied.
#pragma once

#include "backends/formats/grouped_rows.h"
#include "backends/kernels/kernels.h"

#include <functional>

namespace quantfleet {

// The size of the packed matrix: bits of the codes and the numbers of the groups.
std::size_t grouped_rows_bytes(const GroupedRowsFormat& format, std::int64_t rows);
// row_at(n, memory): row n as a block of `format`; memory: room for one, where the row is not there as such.
using GroupedRowAt = std::function<const std::byte*(std::int64_t row, std::byte* memory)>;
// data: panels of sixteen rows (cpu/grouped_task.h).  Returns the first row with a scale or zero point that is not finite, or so large that a value
// could overflow; -1: none.
std::int64_t pack_grouped_rows(const GroupedRowsFormat& format, const GroupedRowAt& row_at, std::int64_t rows, AlignedBuffer& data, ThreadPool& pool);
// F32 activations.
void matmul_grouped_rows(const KernelFamily& family, const GroupedRowsFormat& format, const AlignedBuffer& data, std::int64_t rows, const float* x, std::int64_t tokens,
                         std::int64_t x_stride, float* y, std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch);

}  // namespace quantfleet
