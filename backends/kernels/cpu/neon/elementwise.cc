#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/vector_math.h"

namespace quantfleet::neon {

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vmulq_f32(silu(vld1q_f32(gate + i)), vld1q_f32(up + i)));
  for (; i < n; ++i) y[i] = elementary::silu(gate[i]) * up[i];
}

void add(const float* x, const float* y, std::int64_t n, float* sum) {
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(sum + i, vaddq_f32(vld1q_f32(x + i), vld1q_f32(y + i)));
  for (; i < n; ++i) sum[i] = x[i] + y[i];
}

void rotate(float* x, int heads, int head_dim, int dims, RotaryPairing pairing, const float* cos, const float* sin) {
  const int pairs = dims / 2;
  for (int head = 0; head < heads; ++head, x += head_dim) {
    int i = 0;
    for (; i + 4 <= pairs; i += 4) {
      const float32x4_t c = vld1q_f32(cos + i), s = vld1q_f32(sin + i);
      if (pairing == RotaryPairing::kHalves) {
        const float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + pairs + i);
        vst1q_f32(x + i, vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s)));
        vst1q_f32(x + pairs + i, vaddq_f32(vmulq_f32(a, s), vmulq_f32(b, c)));
      } else {
        float32x4x2_t ab = vld2q_f32(x + 2 * i);
        const float32x4_t a = ab.val[0], b = ab.val[1];
        ab.val[0] = vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s));
        ab.val[1] = vaddq_f32(vmulq_f32(a, s), vmulq_f32(b, c));
        vst2q_f32(x + 2 * i, ab);
      }
    }
    for (; i < pairs; ++i) {
      float& a = pairing == RotaryPairing::kAdjacent ? x[2 * i] : x[i];
      float& b = pairing == RotaryPairing::kAdjacent ? x[2 * i + 1] : x[i + pairs];
      const float rotated = a * cos[i] - b * sin[i];
      b = a * sin[i] + b * cos[i];
      a = rotated;
    }
  }
}

}  // namespace quantfleet::neon
