// Codes times codes by SDOT: 16 products into four 32-bit lanes.
#include "backends/kernels/cpu/tasks.h"

#include <arm_neon.h>

namespace quantfleet::neon {
namespace {

using Sum = int32x4_t;

[[gnu::always_inline]] inline Sum begin(int32x4_t first) { return first; }
[[gnu::always_inline]] inline int32x4_t total(Sum sum) { return sum; }

// sum += quad times codes 4 kPlace .. 4 kPlace + 3.
template <int kPlace>
[[gnu::always_inline]] inline void dot(Sum& sum, int8x16_t quad, int8x16_t codes) {
  sum = vdotq_laneq_s32(sum, quad, codes, kPlace);
}

// sums[h][t] += kQuads quads of rows row + 4 h .. + 3 times codes of token first + t.
template <int kQuads>
[[gnu::always_inline]] inline void multiply_quads(const std::int8_t (*quads)[64], int row, const std::int8_t (*codes)[kGroupTokens][4], int first, int32x4_t (&sums)[2][4]) {
#pragma GCC unroll 8
  for (int g = 0; g < kQuads; ++g) {
    const int8x16_t a = vld1q_s8(codes[g][first]);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const int8x16_t quad = vld1q_s8(quads[g] + 4 * (row + 4 * h));
      dot<0>(sums[h][0], quad, a);
      dot<1>(sums[h][1], quad, a);
      dot<2>(sums[h][2], quad, a);
      dot<3>(sums[h][3], quad, a);
    }
  }
}

}  // namespace
}  // namespace quantfleet::neon

#include "backends/kernels/cpu/neon/matmul_int8_body.h"
#include "backends/kernels/cpu/neon/matmul_int8_prompt_body.h"

namespace quantfleet::neon {

void matmul_int8_dotprod(const MatmulTask& task) {
  if (task.groups) for_panel(task.ggml_type, [&task](auto panel) { prompt<decltype(panel)>(task); });
  else for_panel(task.ggml_type, [&task](auto panel) { all_panels<decltype(panel)>(task); });
}

}  // namespace quantfleet::neon
