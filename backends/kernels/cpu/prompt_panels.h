// The loops around products for many tokens, the same for all instruction sets: a panel's next 256 columns are unpacked once, then groups of
// eight tokens meet them. The float sums of all tokens wait in memory between pieces of K.
#pragma once

#include "backends/kernels/cpu/panel_formats.h"
#include "backends/kernels/cpu/tasks.h"

namespace quantfleet::panel_formats {

inline constexpr int kPromptPanels = 4;  // which read the same piece of the activations while it is in the second-level cache

// What a group of tokens and a panel's piece need to know of each other.
struct PromptGroup {
  const TokenGroup* tokens = nullptr;
  int count_tokens = 0;                 // 1 .. kGroupTokens
  std::int64_t index = 0;               // how many groups met the piece before
  int columns = 0;                      // of the piece
  bool begin = false;                   // the first piece: sums are zeros
  const unsigned char* next = nullptr;  // the piece that is unpacked next of this panel or, behind the last, of one that follows: to be asked for
  float* sums = nullptr;                // [kGroupTokens][16], aligned to 64
};

// Columns of a piece in a packed panel.
template <class P>
inline constexpr std::int64_t kPieceBytes = kGroupColumns / P::kBlock * P::kBlockBytes;

// Panels [panel, panel + panels), at most kPromptPanels.
//   unpack(weights, begin, columns, operands): columns [begin, begin + columns) of a panel;  multiply(operands, group): sums += products
template <class P, class Operands, class Unpack, class Multiply>
QF_INLINE void some_prompt_panels(const MatmulTask& task, std::int64_t panel, int panels, Unpack unpack, Multiply multiply) {
  auto& operands = *reinterpret_cast<Operands*>(task.scratch);
  auto* sums = reinterpret_cast<float*>(task.scratch + sizeof(Operands));  // [groups][panels][kGroupTokens][16]
  const std::int64_t first = task.token_begin / kGroupTokens, groups = (task.token_end + kGroupTokens - 1) / kGroupTokens - first;
  const std::int64_t size = panel_size<P>(task.columns);
  const TokenGroup* piece = task.groups + first;
  const bool behind = (panel + 2 * kPromptPanels) * kPanelRows <= task.rows;  // panels that are read next
  for (std::int64_t begin = 0; begin < task.columns; begin += kGroupColumns, piece += task.count_groups) {
    PromptGroup group;
    group.columns = static_cast<int>(task.columns - begin < kGroupColumns ? task.columns - begin : kGroupColumns);
    group.begin = begin == 0;
    for (int p = 0; p < panels; ++p) {
      const unsigned char* weights = task.weights + (panel + p) * size;
      unpack(weights, begin, group.columns, operands);
      group.next = begin + group.columns < task.columns ? block_at<P>(weights, begin + group.columns) : weights + (behind ? kPromptPanels * size : 0);
      for (group.index = 0; group.index < groups; ++group.index) {
        const std::int64_t tokens = task.token_end - (first + group.index) * kGroupTokens;
        group.count_tokens = static_cast<int>(tokens < kGroupTokens ? tokens : kGroupTokens);
        group.tokens = piece + group.index;
        group.sums = sums + (group.index * panels + p) * kGroupTokens * 16;
        multiply(operands, group);
      }
    }
  }
  for (std::int64_t token = task.token_begin; token < task.token_end; ++token) {
    const std::int64_t group = token / kGroupTokens - first;
    for (int p = 0; p < panels; ++p) {
      const std::int64_t row = (panel + p) * kPanelRows, rows = task.rows - row;
      const float* from = sums + ((group * panels + p) * kGroupTokens + token % kGroupTokens) * 16;
      float* y = task.y + token * task.y_stride + row;
      if (rows >= kPanelRows) __builtin_memcpy(y, from, kPanelRows * sizeof(float));
      else __builtin_memcpy(y, from, static_cast<std::size_t>(rows) * sizeof(float));
    }
  }
}

template <class P, class Operands, class Unpack, class Multiply>
QF_INLINE void prompt_panels(const MatmulTask& task, Unpack unpack, Multiply multiply) {
  static_assert(sizeof(Operands) + kTaskTokens * kPromptPanels * 64 <= kMatmulScratchBytes);
  for (std::int64_t p = task.panel_begin; p < task.panel_end; p += kPromptPanels)
    some_prompt_panels<P, Operands>(task, p, static_cast<int>(task.panel_end - p < kPromptPanels ? task.panel_end - p : kPromptPanels), unpack, multiply);
}

}  // namespace quantfleet::panel_formats
