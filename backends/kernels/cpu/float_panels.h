// Products of F32 activations with panels that are decoded to tiles of floats a piece at a time, the same loops for AVX2 and NEON.
#pragma once

#include "backends/kernels/cpu/panel_formats.h"
#include "backends/kernels/cpu/tasks.h"

namespace quantfleet::panel_formats {

inline constexpr int kTilePanels = 2;  // at once, for few tokens
inline constexpr int kTileColumns = 256;

// Panels [panel, panel + kPanels).
//   Source::panel_size(columns);  Source::decode(panel, begin, count, room) -> tile [count][16]
//   multiply<n>(tiles, x, count, sums): sums [n][kPanels][16] += products of `count` columns with n tokens' x
template <class Source, int kPanels, class Multiply>
QF_INLINE void tile_panels(const MatmulTask& task, std::int64_t panel, Multiply multiply) {
  auto* sums = reinterpret_cast<float*>(task.scratch);  // [tokens][kPanels][16]
  const std::int64_t tokens = task.token_end - task.token_begin;
  float* tiles = sums + kTaskTokens * 16 * kTilePanels;
  for (std::int64_t i = 0; i < tokens * kPanels * 16; ++i) sums[i] = 0;
  for (int p = 0; p < kPanels && task.accumulate; ++p)
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < 16 && (panel + p) * kPanelRows + i < task.rows; ++i)
        sums[(t * kPanels + p) * 16 + i] = task.y[(task.token_begin + t) * task.y_stride + (panel + p) * kPanelRows + i];
  const std::int64_t size = Source::panel_size(task.columns);
  for (std::int64_t k = 0; k < task.columns; k += kTileColumns) {
    const std::int64_t count = task.columns - k < kTileColumns ? task.columns - k : kTileColumns;
    const float* tile[kPanels];
    for (int p = 0; p < kPanels; ++p) tile[p] = Source::decode(task.weights + (panel + p) * size, k, count, tiles + p * 16 * kTileColumns);
    const float* x = task.x + task.token_begin * task.x_stride + k;
    std::int64_t t = 0;
    if constexpr (kPanels == 1)
      for (; t + 4 <= tokens; t += 4) multiply.template operator()<4>(tile, x + t * task.x_stride, count, sums + t * 16 * kPanels);
    for (; t < tokens; ++t) multiply.template operator()<1>(tile, x + t * task.x_stride, count, sums + t * 16 * kPanels);
  }
  for (int p = 0; p < kPanels; ++p) {
    const std::int64_t row = (panel + p) * kPanelRows;
    const std::int64_t count = task.rows - row < 16 ? task.rows - row : 16;
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < count; ++i) task.y[(task.token_begin + t) * task.y_stride + row + i] = sums[(t * kPanels + p) * 16 + i];
  }
}

}  // namespace quantfleet::panel_formats
