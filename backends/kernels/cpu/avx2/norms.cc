#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/vector_math.h"

namespace quantfleet::avx2 {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* y) {
  const std::int64_t whole = n / 16 * 16;
  __m256 low = _mm256_setzero_ps(), high = low;
  for (std::int64_t i = 0; i < whole; i += 16) {
    const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
    low = _mm256_fmadd_ps(a, a, low);
    high = _mm256_fmadd_ps(b, b, high);
  }
  PartialSums squares;
  put(squares, low, high);
  for (std::int64_t i = whole; i < n; ++i) squares.sums[i % 16] = __builtin_fmaf(x[i], x[i], squares.sums[i % 16]);
  const float inverse = 1.0f / __builtin_sqrtf(join(squares) / static_cast<float>(n) + eps);
  const __m256 factor = _mm256_set1_ps(inverse);
  for (std::int64_t i = 0; i < whole; i += 8)
    _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor), _mm256_loadu_ps(weight + i)));
  for (std::int64_t i = whole; i < n; ++i) y[i] = x[i] * inverse * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t n, float eps, float* y) {
  const std::int64_t whole = n / 16 * 16;
  __m256 low = _mm256_setzero_ps(), high = low;
  for (std::int64_t i = 0; i < whole; i += 16) {
    low = _mm256_add_ps(low, _mm256_loadu_ps(x + i));
    high = _mm256_add_ps(high, _mm256_loadu_ps(x + i + 8));
  }
  PartialSums sums;
  put(sums, low, high);
  for (std::int64_t i = whole; i < n; ++i) sums.sums[i % 16] += x[i];
  const float mean = join(sums) / static_cast<float>(n);
  const __m256 means = _mm256_set1_ps(mean);
  low = _mm256_setzero_ps(), high = low;
  for (std::int64_t i = 0; i < whole; i += 16) {
    const __m256 a = _mm256_sub_ps(_mm256_loadu_ps(x + i), means), b = _mm256_sub_ps(_mm256_loadu_ps(x + i + 8), means);
    low = _mm256_fmadd_ps(a, a, low);
    high = _mm256_fmadd_ps(b, b, high);
  }
  PartialSums squares;
  put(squares, low, high);
  for (std::int64_t i = whole; i < n; ++i)
    squares.sums[i % 16] = __builtin_fmaf(x[i] - mean, x[i] - mean, squares.sums[i % 16]);
  const float inverse = 1.0f / __builtin_sqrtf(join(squares) / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) {
    const float scaled = (x[i] - mean) * inverse * weight[i];
    y[i] = bias ? scaled + bias[i] : scaled;
  }
}

}  // namespace quantfleet::avx2
