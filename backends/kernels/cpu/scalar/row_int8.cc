#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/scalar/scalar.h"

namespace quantfleet::scalar {

void matmul_row_int8(const RowInt8Task& task) {
  for (std::int64_t token = task.token_begin; token < task.token_end; ++token)
    for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
      const std::int8_t *w = task.weights + row * task.stride, *a = task.codes + token * task.stride;
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < task.columns; ++k) sum += w[k] * a[k];
      finish_output(task, row, token, sum);
    }
}

void decode_row_int8(const RowInt8Tile& task) {
  for (std::int64_t k = 0; k < task.columns; ++k)
    for (int row = 0; row < task.rows; ++row) task.tile[16 * k + row] = static_cast<float>(task.weights[row * task.stride + k]) * task.scales[row];
}

}  // namespace quantfleet::scalar
