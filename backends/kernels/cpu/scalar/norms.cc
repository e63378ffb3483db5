#include "backends/kernels/cpu/scalar/scalar.h"

#include <cmath>

namespace quantfleet::scalar {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* y) {
  float squares[16] = {};
  for (std::int64_t i = 0; i < n; ++i) squares[i % 16] = std::fma(x[i], x[i], squares[i % 16]);
  const float rms = std::sqrt(join(squares) / static_cast<float>(n) + eps);
  const float inverse = 1.0f / rms;
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * inverse * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t n, float eps, float* y) {
  float sums[16] = {};
  for (std::int64_t i = 0; i < n; ++i) sums[i % 16] += x[i];
  const float mean = join(sums) / static_cast<float>(n);
  float squares[16] = {};
  for (std::int64_t i = 0; i < n; ++i) squares[i % 16] = std::fma(x[i] - mean, x[i] - mean, squares[i % 16]);
  const float inverse = 1.0f / std::sqrt(join(squares) / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) {
    const float scaled = (x[i] - mean) * inverse * weight[i];
    y[i] = bias ? scaled + bias[i] : scaled;
  }
}

}  // namespace quantfleet::scalar
