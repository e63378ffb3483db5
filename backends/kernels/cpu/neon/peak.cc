#include "backends/kernels/cpu/neon/peak.h"

#include <arm_neon.h>

namespace quantfleet::neon {

std::int64_t int8_peak(std::int64_t rounds) {  // 8 x 8 multiply-accumulates a round
  int32x4_t acc[8];
  int8x8_t x = vdup_n_s8(3), y = vdup_n_s8(5);
  for (int i = 0; i < 8; ++i) acc[i] = vdupq_n_s32(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      acc[i] = vpadalq_s16(acc[i], vmull_s8(x, y));
      asm volatile("" : "+w"(x), "+w"(y));
    }
  }
  for (int i = 1; i < 8; ++i) acc[0] = vaddq_s32(acc[0], acc[i]);
  return vaddvq_s32(acc[0]);
}

std::int64_t f32_peak(std::int64_t rounds) {  // 16 x 4 fused multiply-adds a round
  float32x4_t acc[16], x = vdupq_n_f32(0.5f), y = vdupq_n_f32(0.25f);
  for (int i = 0; i < 16; ++i) acc[i] = vdupq_n_f32(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) acc[i] = vfmaq_f32(acc[i], x, y);
    asm volatile("" : "+w"(x), "+w"(y));
  }
  for (int i = 1; i < 16; ++i) acc[0] = vaddq_f32(acc[0], acc[i]);
  return static_cast<std::int64_t>(vaddvq_f32(acc[0]));
}

}  // namespace quantfleet::neon
