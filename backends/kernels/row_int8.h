// Matrices of int8 rows (backends/formats/row_int8.h) inside WeightMatrix: how they are packed and multiplied.
#pragma once

#include "backends/formats/row_int8.h"
#include "backends/kernels/kernels.h"

namespace quantfleet {

// The size of the packed matrix.
std::size_t row_int8_bytes(std::int64_t rows, std::int64_t columns);
// data: scales, sums and codes of all rows, each part aligned.  Returns the first row whose scale is not finite; -1: none.
std::int64_t pack_row_int8(std::span<const std::byte> bytes, std::int64_t rows, std::int64_t columns, AlignedBuffer& data, ThreadPool& pool);

void matmul_row_int8(const KernelFamily& family, const RowInt8Format& format, const AlignedBuffer& data, std::int64_t rows, const float* x, std::int64_t tokens,
                     std::int64_t x_stride, ActivationKind kind, float* y, std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch);

// Codes [rounded up to kRowInt8Pad], scale and outliers of one token (numerics.md rule 1).
void quantize_row(const float* x, std::int64_t columns, const RowInt8Format& format, std::int8_t* codes, float& scale, std::int32_t* outliers, std::int32_t& count_outliers);

}  // namespace quantfleet
