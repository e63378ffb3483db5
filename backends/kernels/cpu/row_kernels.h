// Rows of int8 weights times int8 activations of whole tokens (numerics.md rules 1, 2): plain data for the families' kernels.
#pragma once

#include "backends/kernels/cpu/grouped_task.h"

#include <cstdint>

namespace quantfleet {

inline constexpr std::int64_t kRowInt8Pad = 64;  // codes of a row or a token are padded with zeros to a multiple of it

// Outputs of rows [row_begin, row_end) for tokens [token_begin, token_end).
//   S = sum_k w_code a_code (exact);  y = (d_w d_a) S;  then, for the token's outliers in ascending k: y = fma(w_code d_w, x_k, y)
struct RowInt8Task {
  const std::int8_t* weights = nullptr;      // [N, stride]
  const float* weight_scales = nullptr;      // [N]
  const std::int32_t* weight_sums = nullptr; // [N]: of the row's codes
  std::int64_t columns = 0, stride = 0;      // K; rounded up
  const std::int8_t* codes = nullptr;        // [tokens, stride]
  const float* scales = nullptr;             // [tokens]
  const std::int32_t* outliers = nullptr;    // [tokens, columns]: ascending columns
  const std::int32_t* outlier_counts = nullptr;  // [tokens]
  const float* x = nullptr;                  // [tokens], x_stride floats apart
  std::int64_t x_stride = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
  std::int64_t row_begin = 0, row_end = 0, token_begin = 0, token_end = 0;
};

// Columns of at most sixteen rows as floats, code times scale, into tile [columns][16].
struct RowInt8Tile {
  const std::int8_t* weights = nullptr;  // [rows, stride], from a column on that is a multiple of kRowInt8Pad
  std::int64_t stride = 0;
  const float* scales = nullptr;         // [rows]
  int rows = 16;
  std::int64_t columns = 0;
  float* tile = nullptr;                 // aligned to 64
};

struct KernelFamily;

// What a family has for formats of whole rows; families without such kernels have the scalar ones (dispatch.cc).
struct RowKernels {
  void (*matmul_int8)(const RowInt8Task& task);
  void (*decode_int8)(const RowInt8Tile& tile);
  void (*decode_grouped)(const GroupedTask& task);
  void (*multiply_grouped)(const GroupedTask& task) = nullptr;  // one token without a tile between; null: none
};
const RowKernels& row_kernels(const KernelFamily& family);

// What is the same for all families, given the sum.
[[maybe_unused]] static inline void finish_output(const RowInt8Task& task, std::int64_t row, std::int64_t token, std::int32_t sum) {
  const float scale = task.weight_scales[row];
  float y = scale * task.scales[token] * static_cast<float>(sum);
  const std::int32_t* outliers = task.outliers + token * task.columns;
  for (std::int32_t i = 0; i < task.outlier_counts[token]; ++i) {
    const std::int32_t k = outliers[i];
    y = __builtin_fmaf(static_cast<float>(task.weights[row * task.stride + k]) * scale, task.x[token * task.x_stride + k], y);
  }
  task.y[token * task.y_stride + row] = y;
}

}  // namespace quantfleet
