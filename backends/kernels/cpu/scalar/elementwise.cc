#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/elementary.h"

namespace quantfleet::scalar {

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = elementary::silu(gate[i]) * up[i];
}

void gelu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = elementary::gelu(gate[i]) * up[i];
}

void add(const float* x, const float* y, std::int64_t n, float* sum) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] = x[i] + y[i];
}

void rotate(float* x, int heads, int head_dim, int dims, RotaryPairing pairing, const float* cos, const float* sin) {
  const int pairs = dims / 2;
  for (int head = 0; head < heads; ++head, x += head_dim) {
    for (int i = 0; i < pairs; ++i) {
      float& a = pairing == RotaryPairing::kAdjacent ? x[2 * i] : x[i];
      float& b = pairing == RotaryPairing::kAdjacent ? x[2 * i + 1] : x[i + pairs];
      const float rotated = a * cos[i] - b * sin[i];
      b = a * sin[i] + b * cos[i];
      a = rotated;
    }
  }
}

}  // namespace quantfleet::scalar
