#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/vector_math.h"

namespace quantfleet::avx512 {

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    const __m512 activated = silu(_mm512_maskz_loadu_ps(lanes, gate + i));
    _mm512_mask_storeu_ps(y + i, lanes, _mm512_mul_ps(activated, _mm512_maskz_loadu_ps(lanes, up + i)));
  }
}

void add(const float* x, const float* y, std::int64_t n, float* sum) {
  for (std::int64_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = first_lanes(n - i);
    _mm512_mask_storeu_ps(sum + i, lanes, _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_maskz_loadu_ps(lanes, y + i)));
  }
}

void rotate(float* x, int heads, int head_dim, int dims, RotaryPairing pairing, const float* cos, const float* sin) {
  const int pairs = dims / 2;
  // Lanes 2i and 2i + 1 of (first 32 floats): even and odd elements of two vectors, and back.
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  for (int head = 0; head < heads; ++head, x += head_dim) {
    for (int i = 0; i < pairs; i += 16) {
      const __mmask16 lanes = first_lanes(pairs - i);
      const __m512 c = _mm512_maskz_loadu_ps(lanes, cos + i), s = _mm512_maskz_loadu_ps(lanes, sin + i);
      if (pairing == RotaryPairing::kHalves) {
        const __m512 a = _mm512_maskz_loadu_ps(lanes, x + i), b = _mm512_maskz_loadu_ps(lanes, x + pairs + i);
        _mm512_mask_storeu_ps(x + i, lanes, _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s)));
        _mm512_mask_storeu_ps(x + pairs + i, lanes, _mm512_add_ps(_mm512_mul_ps(a, s), _mm512_mul_ps(b, c)));
      } else {
        const int floats = 2 * (pairs - i);
        const __mmask16 first = first_lanes(floats), second = first_lanes(floats > 16 ? floats - 16 : 0);
        const __m512 v = _mm512_maskz_loadu_ps(first, x + 2 * i), w = _mm512_maskz_loadu_ps(second, x + 2 * i + 16);
        const __m512 a = _mm512_permutex2var_ps(v, even, w), b = _mm512_permutex2var_ps(v, odd, w);
        const __m512 new_a = _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s));
        const __m512 new_b = _mm512_add_ps(_mm512_mul_ps(a, s), _mm512_mul_ps(b, c));
        _mm512_mask_storeu_ps(x + 2 * i, first, _mm512_permutex2var_ps(new_a, low, new_b));
        _mm512_mask_storeu_ps(x + 2 * i + 16, second, _mm512_permutex2var_ps(new_a, high, new_b));
      }
    }
  }
}

}  // namespace quantfleet::avx512
