// Rows of int8: products of 16 bits (SMULL), pairs of them into 32 (SADALP), for CPUs without the dot product; and rows to floats.
#include <arm_neon.h>

namespace quantfleet::neon {
namespace {

[[gnu::always_inline]] inline void row_dot(int32x4_t& sum, int8x16_t weights, int8x16_t codes) {
  sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(weights), vget_low_s8(codes)));
  sum = vpadalq_s16(sum, vmull_high_s8(weights, codes));
}

}  // namespace
}  // namespace quantfleet::neon

#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/row_int8_body.h"

namespace quantfleet::neon {

void matmul_row_int8(const RowInt8Task& task) { all_rows(task); }

// Sixteen columns of four rows at a time are turned: four codes of each row side by side, as panels have them.
void decode_row_int8(const RowInt8Tile& task) {
  for (int first = 0; first < task.rows; first += 4) {
    const int rows = task.rows - first < 4 ? task.rows - first : 4;
    float scales[4] = {};
    for (int row = 0; row < rows; ++row) scales[row] = task.scales[first + row];
    const float32x4_t scale = vld1q_f32(scales);
    for (std::int64_t k = 0; k < task.columns; k += 16) {
      int32x4_t a[4];
      for (int row = 0; row < 4; ++row) a[row] = vreinterpretq_s32_s8(vld1q_s8(task.weights + (first + (row < rows ? row : 0)) * task.stride + k));
      const int64x2_t low[2] = {vreinterpretq_s64_s32(vtrn1q_s32(a[0], a[1])), vreinterpretq_s64_s32(vtrn1q_s32(a[2], a[3]))};
      const int64x2_t high[2] = {vreinterpretq_s64_s32(vtrn2q_s32(a[0], a[1])), vreinterpretq_s64_s32(vtrn2q_s32(a[2], a[3]))};
      const int64x2_t quads[4] = {vtrn1q_s64(low[0], low[1]), vtrn1q_s64(high[0], high[1]), vtrn2q_s64(low[0], low[1]), vtrn2q_s64(high[0], high[1])};
      const std::int64_t left = task.columns - k;
      for (int g = 0; g < 4; ++g) {
        const int32x4_t words = vreinterpretq_s32_s64(quads[g]);
        const int32x4_t columns[4] = {vshrq_n_s32(vshlq_n_s32(words, 24), 24), vshrq_n_s32(vshlq_n_s32(words, 16), 24),
                                      vshrq_n_s32(vshlq_n_s32(words, 8), 24), vshrq_n_s32(words, 24)};
        for (int i = 0; i < 4; ++i)
          if (4 * g + i < left) vst1q_f32(task.tile + 16 * (k + 4 * g + i) + first, vmulq_f32(vcvtq_f32_s32(columns[i]), scale));
      }
    }
  }
}

}  // namespace quantfleet::neon
