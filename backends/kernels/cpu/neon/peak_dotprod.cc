#include "backends/kernels/cpu/neon/peak.h"

#include <arm_neon.h>

namespace quantfleet::neon {

std::int64_t int8_peak_dotprod(std::int64_t rounds) {  // 16 x 16 multiply-accumulates a round
  int32x4_t acc[16];
  int8x16_t x = vdupq_n_s8(3), y = vdupq_n_s8(5);
  for (int i = 0; i < 16; ++i) acc[i] = vdupq_n_s32(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) acc[i] = vdotq_s32(acc[i], x, y);
    asm volatile("" : "+w"(x), "+w"(y));
  }
  for (int i = 1; i < 16; ++i) acc[0] = vaddq_s32(acc[0], acc[i]);
  return vaddvq_s32(acc[0]);
}

}  // namespace quantfleet::neon
