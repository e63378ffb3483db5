// Rows of int8 by SDOT: 16 products into four 32-bit lanes.
#include <arm_neon.h>

namespace quantfleet::neon {
namespace {

[[gnu::always_inline]] inline void row_dot(int32x4_t& sum, int8x16_t weights, int8x16_t codes) { sum = vdotq_s32(sum, weights, codes); }

}  // namespace
}  // namespace quantfleet::neon

#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/row_int8_body.h"

namespace quantfleet::neon {

void matmul_row_int8_dotprod(const RowInt8Task& task) { all_rows(task); }

}  // namespace quantfleet::neon
