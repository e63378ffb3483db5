// exp and silu of four floats: the operations of elementary.h, in its order, so that each lane has its bits. Sixteen floats as
// four vectors: the keys of a page, the rows of a panel, the partial sums of rule 3.
#pragma once

#include "backends/kernels/elementary.h"

#include <arm_neon.h>

#include <cstdint>

namespace quantfleet::neon {

// x > bound ? bound : x; NaN stays. (FMIN would do the same for numbers, but is not what the definition says of NaN.)
[[gnu::always_inline, maybe_unused]] static inline float32x4_t at_most(float32x4_t x, float32x4_t bound) {
  return vbslq_f32(vcgtq_f32(x, bound), bound, x);
}
[[gnu::always_inline, maybe_unused]] static inline float32x4_t at_least(float32x4_t x, float32x4_t bound) {
  return vbslq_f32(vcltq_f32(x, bound), bound, x);
}

[[gnu::always_inline, maybe_unused]] static inline float32x4_t exp(float32x4_t x) {
  namespace e = elementary;
  x = at_least(at_most(x, vdupq_n_f32(e::kExpHigh)), vdupq_n_f32(e::kExpLow));
  const float32x4_t magic = vdupq_n_f32(e::kRoundMagic);
  const float32x4_t shifted = vfmaq_f32(magic, x, vdupq_n_f32(e::kLog2E));
  const float32x4_t n = vsubq_f32(shifted, magic);
  const int32x4_t exponent = vsubq_s32(vreinterpretq_s32_f32(shifted), vreinterpretq_s32_f32(magic));
  float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(e::kLn2High));
  r = vfmsq_f32(r, n, vdupq_n_f32(e::kLn2Low));
  float32x4_t p = vdupq_n_f32(e::kExpTaylor[0]);
  for (int i = 1; i < 8; ++i) p = vfmaq_f32(vdupq_n_f32(e::kExpTaylor[i]), p, r);
  const int32x4_t half = vshrq_n_s32(exponent, 1), bias = vdupq_n_s32(127);
  const float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
  const float32x4_t second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(exponent, half), bias), 23));
  return vmulq_f32(vmulq_f32(p, first), second);
}

[[gnu::always_inline, maybe_unused]] static inline float32x4_t silu(float32x4_t x) {
  return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), exp(vnegq_f32(x))));
}

struct Sixteen {
  float32x4_t v[4];
};
[[gnu::always_inline, maybe_unused]] static inline Sixteen load16(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
[[gnu::always_inline, maybe_unused]] static inline void store16(float* p, const Sixteen& x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
}
[[gnu::always_inline, maybe_unused]] static inline Sixteen zero16() {
  return {{vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)}};
}
// acc + a * b, rounded once.
[[gnu::always_inline, maybe_unused]] static inline Sixteen fma16(Sixteen acc, const Sixteen& a, float b) {
  for (int i = 0; i < 4; ++i) acc.v[i] = vfmaq_n_f32(acc.v[i], a.v[i], b);
  return acc;
}

// Joined by 8, 4, 2, 1.
[[gnu::always_inline, maybe_unused]] static inline float join(float (&sums)[16]) {
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}

}  // namespace quantfleet::neon
