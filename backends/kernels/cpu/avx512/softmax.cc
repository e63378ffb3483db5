#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/vector_math.h"

namespace quantfleet::avx512 {
namespace {

// The first element's value when all others are NaN or less; NaN is skipped unless it comes first (scalar: x > max ? x : max).
float maximum(const float* x, std::int64_t n) {
  __m512 max = _mm512_set1_ps(x[0]);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    const __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
    max = _mm512_mask_max_ps(max, lanes, v, max);  // the second operand when one is NaN
  }
  return _mm512_reduce_max_ps(max) + 0.0f;
}

}  // namespace

void softmax(const float* x, std::int64_t n, float* y) {
  const __m512 max = _mm512_set1_ps(maximum(x, n));
  __m512 sums = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    const __m512 p = exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), max));
    _mm512_mask_storeu_ps(y + i, lanes, p);
    sums = _mm512_mask_add_ps(sums, lanes, sums, p);
  }
  const __m512 sum = _mm512_set1_ps(join(sums));
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    _mm512_mask_storeu_ps(y + i, lanes, _mm512_div_ps(_mm512_maskz_loadu_ps(lanes, y + i), sum));
  }
}

LogSumExp log_sum_exp(const float* x, std::int64_t n) {
  const float max = maximum(x, n);
  const __m512 maxima = _mm512_set1_ps(max);
  __m512 sums = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    sums = _mm512_mask_add_ps(sums, lanes, sums, exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), maxima)));
  }
  return {max, elementary::log(join(sums))};
}

}  // namespace quantfleet::avx512
