// Codes times codes by SMULL (eight products of 16 bits, at most 128 * 127) and SADALP (pairs of them into 32 bits), for CPUs
// without the dot product: Cortex-A53, A72 (Raspberry Pi 3 and 4).
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

}  // namespace
}  // namespace quantfleet::neon

#include "backends/kernels/cpu/neon/matmul_int8_body.h"

namespace quantfleet::neon {

void matmul_int8(const MatmulTask& task) {
  for_panel(task.ggml_type, [&task](auto panel) { all_panels<decltype(panel)>(task); });
}

}  // namespace quantfleet::neon
