#include "backends/kernels/cpu/integer_formats.h"
#include "backends/kernels/cpu/scalar/scalar.h"

#include <algorithm>
#include <cmath>

namespace quantfleet::scalar {

// Rule 2 with f32 activations: acc = fma(w, x, acc) over ascending k. The outputs hold the sums between pieces of K.
void matmul_f32(const MatmulTask& task) {
  const int block = values_per_block(*task.format);
  const std::int64_t blocks_at_once = std::max(1, 256 / block);
  float values[1024];
  const std::int64_t row_end = std::min(task.rows, task.panel_end * kPanelRows);
  for (std::int64_t row = task.panel_begin * kPanelRows; row < row_end; ++row) {
    for (std::int64_t t = task.token_begin; t < task.token_end && !task.accumulate; ++t) task.y[t * task.y_stride + row] = 0;
    const unsigned char* blocks = task.weights + row * task.row_bytes;
    for (std::int64_t k = 0; k < task.columns;) {
      const std::int64_t count_blocks = std::min(blocks_at_once, (task.columns - k) / block);
      const std::int64_t count = count_blocks * block;
      decode_blocks(*task.format, blocks, count_blocks, values);
      for (std::int64_t t = task.token_begin; t < task.token_end; ++t) {
        const float* x = task.x + t * task.x_stride + k;
        float acc = task.y[t * task.y_stride + row];
        for (std::int64_t i = 0; i < count; ++i) acc = std::fma(values[i], x[i], acc);
        task.y[t * task.y_stride + row] = acc;
      }
      blocks += count_blocks * bytes_per_block(*task.format);
      k += count;
    }
  }
}

// Rules 1 and 2 with int8 activations: a block's sums are integers, and become floats once.
void matmul_int8(const MatmulTask& task) {
  const IntegerFormat& format = *task.integers;
  const std::int64_t count_blocks = task.columns / format.block;
  const int subs = format.block / format.sub_block;
  const std::int64_t row_end = std::min(task.rows, task.panel_end * kPanelRows);
  for (std::int64_t row = task.panel_begin * kPanelRows; row < row_end; ++row) {
    for (std::int64_t t = task.token_begin; t < task.token_end; ++t) task.y[t * task.y_stride + row] = 0;
    for (std::int64_t block = 0; block < count_blocks; ++block) {
      CodeBlock w;
      format.read(task.weights + row * task.row_bytes + block * format.bytes, w);
      for (std::int64_t t = task.token_begin; t < task.token_end; ++t) {
        const std::int8_t* a = task.codes + t * task.columns + block * format.block;
        const std::int16_t* sums = task.sums + (t * count_blocks + block) * subs;
        const float d_a = task.scales[t * count_blocks + block];
        std::int32_t S = 0, M = 0;
        for (int j = 0; j < subs; ++j) {
          std::int32_t dot = 0;
          for (int i = j * format.sub_block; i < (j + 1) * format.sub_block; ++i) dot += w.codes[i] * a[i];
          S += format.has_scales ? w.scales[j] * dot : dot;
          if (format.min_sign != 0) M += format.has_scales ? w.mins[j] * sums[j] : sums[j];
        }
        float acc = task.y[t * task.y_stride + row];
        acc = std::fma(w.d * d_a, static_cast<float>(S), acc);
        if (format.min_sign < 0) acc = std::fma(-(w.m * d_a), static_cast<float>(M), acc);
        if (format.min_sign > 0) acc = std::fma(w.m * d_a, static_cast<float>(M), acc);
        task.y[t * task.y_stride + row] = acc;
      }
    }
  }
}

}  // namespace quantfleet::scalar
