#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/vector_math.h"

namespace quantfleet::avx512 {

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* y) {
  __m512 squares = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    const __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
    squares = _mm512_mask3_fmadd_ps(v, v, squares, lanes);
  }
  const float rms = __builtin_sqrtf(join(squares) / static_cast<float>(n) + eps);
  const __m512 inverse = _mm512_set1_ps(1.0f / rms);
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), inverse);
    _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(lanes, weight + i)));
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, std::int64_t n, float eps, float* y) {
  __m512 sums = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    sums = _mm512_mask_add_ps(sums, lanes, sums, _mm512_maskz_loadu_ps(lanes, x + i));
  }
  const __m512 mean = _mm512_set1_ps(join(sums) / static_cast<float>(n));
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    const __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), mean);
    squares = _mm512_mask3_fmadd_ps(v, v, squares, lanes);
  }
  const __m512 inverse = _mm512_set1_ps(1.0f / __builtin_sqrtf(join(squares) / static_cast<float>(n) + eps));
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), mean), inverse);
    v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, weight + i));
    if (bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, bias + i));
    _mm512_mask_storeu_ps(y + i, lanes, v);
  }
}

}  // namespace quantfleet::avx512
