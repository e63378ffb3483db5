#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/vector_math.h"

namespace quantfleet::avx2 {

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(y + i, _mm256_mul_ps(silu(_mm256_loadu_ps(gate + i)), _mm256_loadu_ps(up + i)));
  for (; i < n; ++i) y[i] = elementary::silu(gate[i]) * up[i];
}

void add(const float* x, const float* y, std::int64_t n, float* sum) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(sum + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
  for (; i < n; ++i) sum[i] = x[i] + y[i];
}

void rotate(float* x, int heads, int head_dim, int dims, RotaryPairing pairing, const float* cos, const float* sin) {
  const int pairs = dims / 2;
  for (int head = 0; head < heads; ++head, x += head_dim) {
    int i = 0;
    if (pairing == RotaryPairing::kHalves)
      for (; i + 8 <= pairs; i += 8) {
        const __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_loadu_ps(sin + i);
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + pairs + i);
        _mm256_storeu_ps(x + i, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + pairs + i, _mm256_add_ps(_mm256_mul_ps(a, s), _mm256_mul_ps(b, c)));
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

}  // namespace quantfleet::avx2
