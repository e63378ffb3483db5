// Products of F32 activations with weights that are decoded to floats a piece at a time, behind the format's own decoder: the
// family's F32 kernel multiplies the piece while it is in the second-level cache. The chain over k goes on from piece to piece.
#pragma once

#include "backends/kernels/kernels.h"

#include <functional>

namespace quantfleet {

inline constexpr std::int64_t kPieceColumns = 512;

// Columns [begin, end) of sixteen rows: tile [end - begin][16].  begin is a multiple of kPieceColumns, end too or the last column;
// rows behind the last one may be anything.
using DecodePiece = std::function<void(std::int64_t panel, std::int64_t begin, std::int64_t end, float* tile)>;

void matmul_decoded(const KernelFamily& family, std::int64_t rows, std::int64_t columns, const float* x, std::int64_t tokens, std::int64_t x_stride, float* y,
                    std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch, const DecodePiece& decode);

// Activations of groups of eight tokens beside each other, for families that have such kernels (tasks.h).
void group_floats(MatmulTask& task, std::int64_t tokens, ThreadPool& pool, MatmulScratch& scratch);

}  // namespace quantfleet
