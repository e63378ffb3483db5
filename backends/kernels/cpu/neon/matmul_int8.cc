// Codes times codes by SMULL (eight products of 16 bits, at most 128 * 127) and SADALP (pairs of them into 32 bits), for CPUs
// without the dot product: Cortex-A53, A72 (Raspberry Pi 3 and 4).
#include "backends/kernels/cpu/tasks.h"

#include <arm_neon.h>

namespace quantfleet::neon {
namespace {

// Each row's products lie in two neighbouring lanes: rows 0, 1 in `low`, rows 2, 3 in `high`.
struct Sum {
  int32x4_t low, high, first;
};

[[gnu::always_inline]] inline Sum begin(int32x4_t first) { return {vdupq_n_s32(0), vdupq_n_s32(0), first}; }
[[gnu::always_inline]] inline int32x4_t total(const Sum& sum) { return vaddq_s32(sum.first, vpaddq_s32(sum.low, sum.high)); }

// sum += quad times codes 4 kPlace .. 4 kPlace + 3.
template <int kPlace>
[[gnu::always_inline]] inline void dot(Sum& sum, int8x16_t quad, int8x16_t codes) {
  const int8x16_t a = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(codes), kPlace));
  sum.low = vpadalq_s16(sum.low, vmull_s8(vget_low_s8(quad), vget_low_s8(a)));
  sum.high = vpadalq_s16(sum.high, vmull_high_s8(quad, a));
}

// sums[h][t] += kQuads quads of rows row + 4 h .. + 3 times codes of token first + t. Products of two quads fit into 16 bits: 2 * 128 * 127.
template <int kQuads>
[[gnu::always_inline]] inline void multiply_quads(const std::int8_t (*quads)[64], int row, const std::int8_t (*codes)[kGroupTokens][4], int first, int32x4_t (&sums)[2][4]) {
  int32x4_t pairs[2][2][4];  // of a row's products two neighbouring lanes
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) pairs[0][0][t] = pairs[0][1][t] = pairs[1][0][t] = pairs[1][1][t] = vdupq_n_s32(0);
#pragma GCC unroll 1
  for (int g = 0; g < kQuads; g += 2) {
    const int8x16_t quad[2][2] = {{vld1q_s8(quads[g] + 4 * row), vld1q_s8(quads[g] + 4 * row + 16)}, {vld1q_s8(quads[g + 1] + 4 * row), vld1q_s8(quads[g + 1] + 4 * row + 16)}};
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      std::int32_t four[2];
      __builtin_memcpy(&four[0], codes[g][first + t], 4);
      __builtin_memcpy(&four[1], codes[g + 1][first + t], 4);
      const int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(four[0])), b = vreinterpretq_s8_s32(vdupq_n_s32(four[1]));
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(quad[0][h]), vget_low_s8(a)), vget_low_s8(quad[1][h]), vget_low_s8(b));
        const int16x8_t high = vmlal_high_s8(vmull_high_s8(quad[0][h], a), quad[1][h], b);
        pairs[h][0][t] = vpadalq_s16(pairs[h][0][t], low);
        pairs[h][1][t] = vpadalq_s16(pairs[h][1][t], high);
      }
    }
  }
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h)
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) sums[h][t] = vaddq_s32(sums[h][t], vpaddq_s32(pairs[h][0][t], pairs[h][1][t]));
}

}  // namespace
}  // namespace quantfleet::neon

#include "backends/kernels/cpu/neon/matmul_int8_body.h"
#include "backends/kernels/cpu/neon/matmul_int8_prompt_body.h"

namespace quantfleet::neon {

void matmul_int8(const MatmulTask& task) {
  if (task.groups) for_panel(task.ggml_type, [&task](auto panel) { prompt<decltype(panel)>(task); });
  else for_panel(task.ggml_type, [&task](auto panel) { all_panels<decltype(panel)>(task); });
}

}  // namespace quantfleet::neon
