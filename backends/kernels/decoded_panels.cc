#include "backends/kernels/decoded_panels.h"

#include "backends/formats/catalog.h"
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/tasks.h"

#include <algorithm>
#include <cstring>

namespace quantfleet {
namespace {

static_assert(kPieceColumns % kFloatGroupColumns == 0);
constexpr std::int64_t kPanelsAtOnce = 4;    // what families run side by side

}  // namespace

void group_floats(MatmulTask& all, std::int64_t tokens, ThreadPool& pool, MatmulScratch& scratch) {
  const std::int64_t count_groups = (tokens + kGroupTokens - 1) / kGroupTokens;
  const std::int64_t pieces = (all.columns + kFloatGroupColumns - 1) / kFloatGroupColumns;
  auto* groups = reinterpret_cast<FloatTokenGroup*>(
      scratch.activations.reserve(static_cast<std::size_t>(count_groups * pieces) * sizeof(FloatTokenGroup)));
  pool.parallel_for(count_groups, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t group = begin; group < end; ++group)
      for (std::int64_t piece = 0; piece < pieces; ++piece) {
        FloatTokenGroup& target = groups[piece * count_groups + group];
        const std::int64_t first = group * kGroupTokens, column = piece * kFloatGroupColumns;
        const std::int64_t count = std::min<std::int64_t>(kFloatGroupColumns, all.columns - column);
        const std::int64_t count_tokens = std::min<std::int64_t>(kGroupTokens, tokens - first);
        if (count_tokens < kGroupTokens) std::memset(&target, 0, sizeof target);
        for (std::int64_t t = 0; t < count_tokens; ++t) {
          const float* x = all.x + (first + t) * all.x_stride + column;
          for (std::int64_t k = 0; k < count; ++k) target.x[k][t] = x[k];
        }
      }
  });
  all.float_groups = groups;
  all.count_groups = count_groups;
}

void matmul_decoded(const KernelFamily& family, std::int64_t rows, std::int64_t columns, const float* x, std::int64_t tokens, std::int64_t x_stride, float* y,
                    std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch, const DecodePiece& decode) {
  if (tokens <= 0) return;
  MatmulTask all;
  all.panels = family.uses_panels;
  all.ggml_type = kF32.ggml_type;
  all.columns = columns;
  all.format = &kF32;
  all.x = x;
  all.x_stride = x_stride;
  all.y_stride = y_stride;
  if (family.float_groups && tokens > kGroupTokens) group_floats(all, tokens, pool, scratch);
  const std::int64_t piece = std::min(columns, kPieceColumns);
  const std::int64_t tile_bytes = kPanelsAtOnce * piece * kPanelRows * 4, scratch_bytes = kMatmulScratchBytes + 2 * tile_bytes;
  auto* memory = reinterpret_cast<unsigned char*>(scratch.tiles.reserve(static_cast<std::size_t>(pool.threads() * scratch_bytes)));
  const std::int64_t panels = (rows + kPanelRows - 1) / kPanelRows;
  const std::int64_t grain = std::clamp<std::int64_t>(panels / (4 * pool.threads()) / kPanelsAtOnce, 1, 16) * kPanelsAtOnce;
  pool.parallel_for(panels, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
    MatmulTask task = all;
    task.scratch = memory + thread * scratch_bytes;
    auto* tile = reinterpret_cast<float*>(task.scratch + kMatmulScratchBytes);
    float* row_major = tile + tile_bytes / 4;
    for (std::int64_t panel = begin; panel < end; panel += kPanelsAtOnce) {
      const std::int64_t count = std::min(kPanelsAtOnce, end - panel), first_row = panel * kPanelRows;
      task.rows = std::min(rows - first_row, count * kPanelRows);
      task.panel_end = count;
      task.y = y + first_row;
      for (std::int64_t k = 0; k < columns; k += piece) {
        const std::int64_t width = std::min(piece, columns - k);
        for (std::int64_t p = 0; p < count; ++p) decode(panel + p, k, k + width, tile + p * width * kPanelRows);
        task.weights = reinterpret_cast<const unsigned char*>(tile);
        if (!family.uses_panels) {
          for (std::int64_t p = 0; p < count; ++p)
            for (std::int64_t r = 0; r < kPanelRows; ++r)
              for (std::int64_t i = 0; i < width; ++i)
                row_major[(p * kPanelRows + r) * width + i] = tile[(p * width + i) * kPanelRows + r];
          task.weights = reinterpret_cast<const unsigned char*>(row_major);
        }
        task.columns = width;
        task.row_bytes = 4 * width;
        task.x = x + k;
        task.accumulate = k > 0;
        task.float_groups = all.float_groups ? all.float_groups + k / kFloatGroupColumns * all.count_groups : nullptr;
        for (task.token_begin = 0; task.token_begin < tokens; task.token_begin = task.token_end) {
          task.token_end = std::min(tokens, task.token_begin + kTaskTokens);
          family.matmul_f32(task);
        }
      }
    }
  });
}

}  // namespace quantfleet
