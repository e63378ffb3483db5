// Codes times codes by SDOT: 16 products into four 32-bit lanes.
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

}  // namespace
}  // namespace quantfleet::neon

#include "backends/kernels/cpu/neon/matmul_int8_body.h"

namespace quantfleet::neon {

void matmul_int8_dotprod(const MatmulTask& task) {
  for_panel(task.ggml_type, [&task](auto panel) { all_panels<decltype(panel)>(task); });
}

}  // namespace quantfleet::neon
