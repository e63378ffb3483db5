// Rows of int8 times tokens of int8, for the files that define row_dot: four rows and two tokens at a time share their loads.
#include "backends/kernels/cpu/row_kernels.h"

namespace quantfleet::neon {
namespace {

template <int kRows, int kTokens>
[[gnu::always_inline]] inline void row_tile(const RowInt8Task& task, std::int64_t row, std::int64_t token) {
  int32x4_t sums[kRows][kTokens];
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTokens; ++t) sums[r][t] = vdupq_n_s32(0);
  for (std::int64_t k = 0; k < task.stride; k += 16) {
    int8x16_t codes[kTokens];
    for (int t = 0; t < kTokens; ++t) codes[t] = vld1q_s8(task.codes + (token + t) * task.stride + k);
    for (int r = 0; r < kRows; ++r) {
      const int8x16_t weights = vld1q_s8(task.weights + (row + r) * task.stride + k);
      for (int t = 0; t < kTokens; ++t) row_dot(sums[r][t], weights, codes[t]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int t = 0; t < kTokens; ++t) finish_output(task, row + r, token + t, vaddvq_s32(sums[r][t]));
}

template <int kRows>
[[gnu::always_inline]] inline void tokens_of(const RowInt8Task& task, std::int64_t row) {
  std::int64_t token = task.token_begin;
  for (; token + 2 <= task.token_end; token += 2) row_tile<kRows, 2>(task, row, token);
  for (; token < task.token_end; ++token) row_tile<kRows, 1>(task, row, token);
}

[[gnu::always_inline]] inline void all_rows(const RowInt8Task& task) {
  std::int64_t row = task.row_begin;
  for (; row + 4 <= task.row_end; row += 4) tokens_of<4>(task, row);
  for (; row < task.row_end; ++row) tokens_of<1>(task, row);
}

}  // namespace
}  // namespace quantfleet::neon
