#include "backends/kernels/kernels.h"

#include <algorithm>
#include <limits>

namespace quantfleet {

void log_softmax(const KernelFamily& family, const float* x, std::int64_t n, float* y) {
  const LogSumExp normalizer = family.log_sum_exp(x, n);
  for (std::int64_t i = 0; i < n; ++i) y[i] = (x[i] - normalizer.max) - normalizer.log_sum;
}

std::int64_t argmax(const float* x, std::int64_t n) {
  constexpr int kLanes = 16;
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  for (const float lane : lanes) lanes[0] = lane > lanes[0] ? lane : lanes[0];
  const float* first = std::find(x, x + n, lanes[0]);
  return first == x + n ? 0 : first - x;  // 0: nothing but NaN
}

}  // namespace quantfleet
