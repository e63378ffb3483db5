#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/vector_math.h"

namespace quantfleet::neon {
namespace {

// Scalar: x > max ? x : max, from x[0]: NaN is skipped unless it comes first.
float maximum(const float* x, std::int64_t n) {
  float32x4_t maxima = vdupq_n_f32(x[0]);
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float32x4_t a = vld1q_f32(x + i);
    maxima = vbslq_f32(vcgtq_f32(a, maxima), a, maxima);
  }
  float lanes[4];
  vst1q_f32(lanes, maxima);
  float max = lanes[0];
  for (const float lane : lanes) max = lane > max ? lane : max;
  for (; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max + 0.0f;
}

// exp(x - max) into y when y is not null; the partial sums.
float exp_sum(const float* x, float max, std::int64_t n, float* y) {
  const std::int64_t whole = n / 16 * 16;
  Sixteen partial = zero16();
  for (std::int64_t i = 0; i < whole; i += 16) {
    Sixteen a = load16(x + i);
    for (int v = 0; v < 4; ++v) {
      a.v[v] = exp(vsubq_f32(a.v[v], vdupq_n_f32(max)));
      partial.v[v] = vaddq_f32(partial.v[v], a.v[v]);
    }
    if (y) store16(y + i, a);
  }
  float sums[16];
  store16(sums, partial);
  for (std::int64_t i = whole; i < n; ++i) {
    const float p = elementary::exp(x[i] - max);
    if (y) y[i] = p;
    sums[i % 16] += p;
  }
  return join(sums);
}

}  // namespace

void softmax(const float* x, std::int64_t n, float* y) {
  const float sum = exp_sum(x, maximum(x, n), n, y);
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vdivq_f32(vld1q_f32(y + i), vdupq_n_f32(sum)));
  for (; i < n; ++i) y[i] /= sum;
}

LogSumExp log_sum_exp(const float* x, std::int64_t n) {
  const float max = maximum(x, n);
  return {max, elementary::log(exp_sum(x, max, n, nullptr))};
}

}  // namespace quantfleet::neon
