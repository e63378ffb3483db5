#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/vector_math.h"

namespace quantfleet::avx2 {
namespace {

// Scalar: x > max ? x : max, from x[0]: NaN is skipped unless it comes first.
float maximum(const float* x, std::int64_t n) {
  __m256 maxima = _mm256_set1_ps(x[0]);
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) maxima = _mm256_max_ps(_mm256_loadu_ps(x + i), maxima);  // the second operand when one is NaN
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, maxima);
  float max = lanes[0];
  for (const float lane : lanes) max = lane > max ? lane : max;
  for (; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max + 0.0f;
}

// exp(x - max) into y when y is not null; the partial sums.
float exp_sum(const float* x, float max, std::int64_t n, float* y) {
  const std::int64_t whole = n / 16 * 16;
  const __m256 maxima = _mm256_set1_ps(max);
  __m256 low = _mm256_setzero_ps(), high = low;
  for (std::int64_t i = 0; i < whole; i += 16) {
    const __m256 a = exp(_mm256_sub_ps(_mm256_loadu_ps(x + i), maxima));
    const __m256 b = exp(_mm256_sub_ps(_mm256_loadu_ps(x + i + 8), maxima));
    if (y) _mm256_storeu_ps(y + i, a), _mm256_storeu_ps(y + i + 8, b);
    low = _mm256_add_ps(low, a);
    high = _mm256_add_ps(high, b);
  }
  PartialSums sums;
  put(sums, low, high);
  for (std::int64_t i = whole; i < n; ++i) {
    const float p = elementary::exp(x[i] - max);
    if (y) y[i] = p;
    sums.sums[i % 16] += p;
  }
  return join(sums);
}

}  // namespace

void softmax(const float* x, std::int64_t n, float* y) {
  const float sum = exp_sum(x, maximum(x, n), n, y);
  const __m256 sums = _mm256_set1_ps(sum);
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_div_ps(_mm256_loadu_ps(y + i), sums));
  for (; i < n; ++i) y[i] /= sum;
}

LogSumExp log_sum_exp(const float* x, std::int64_t n) {
  const float max = maximum(x, n);
  return {max, elementary::log(exp_sum(x, max, n, nullptr))};
}

}  // namespace quantfleet::avx2
