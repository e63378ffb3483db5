#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/vector_math.h"

namespace quantfleet::neon {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* y) {
  const std::int64_t whole = n / 16 * 16;
  Sixteen partial = zero16();
  for (std::int64_t i = 0; i < whole; i += 16) {
    const Sixteen a = load16(x + i);
    for (int v = 0; v < 4; ++v) partial.v[v] = vfmaq_f32(partial.v[v], a.v[v], a.v[v]);
  }
  float squares[16];
  store16(squares, partial);
  for (std::int64_t i = whole; i < n; ++i) squares[i % 16] = __builtin_fmaf(x[i], x[i], squares[i % 16]);
  const float inverse = 1.0f / __builtin_sqrtf(join(squares) / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < whole; i += 4)
    vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), inverse), vld1q_f32(weight + i)));
  for (std::int64_t i = whole; i < n; ++i) y[i] = x[i] * inverse * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t n, float eps, float* y) {
  const std::int64_t whole = n / 16 * 16;
  Sixteen partial = zero16();
  for (std::int64_t i = 0; i < whole; i += 16) {
    const Sixteen a = load16(x + i);
    for (int v = 0; v < 4; ++v) partial.v[v] = vaddq_f32(partial.v[v], a.v[v]);
  }
  float sums[16];
  store16(sums, partial);
  for (std::int64_t i = whole; i < n; ++i) sums[i % 16] += x[i];
  const float mean = join(sums) / static_cast<float>(n);
  partial = zero16();
  for (std::int64_t i = 0; i < whole; i += 16) {
    const Sixteen a = load16(x + i);
    for (int v = 0; v < 4; ++v) {
      const float32x4_t rest = vsubq_f32(a.v[v], vdupq_n_f32(mean));
      partial.v[v] = vfmaq_f32(partial.v[v], rest, rest);
    }
  }
  float squares[16];
  store16(squares, partial);
  for (std::int64_t i = whole; i < n; ++i) squares[i % 16] = __builtin_fmaf(x[i] - mean, x[i] - mean, squares[i % 16]);
  const float inverse = 1.0f / __builtin_sqrtf(join(squares) / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) {
    const float scaled = (x[i] - mean) * inverse * weight[i];
    y[i] = bias ? scaled + bias[i] : scaled;
  }
}

}  // namespace quantfleet::neon
