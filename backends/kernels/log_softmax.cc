#include "backends/kernels/kernels.h"

namespace quantfleet {

void log_softmax(const KernelFamily& family, const float* x, std::int64_t n, float* y) {
  const LogSumExp normalizer = family.log_sum_exp(x, n);
  for (std::int64_t i = 0; i < n; ++i) y[i] = (x[i] - normalizer.max) - normalizer.log_sum;
}

std::int64_t argmax(const float* x, std::int64_t n) {
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < n; ++i)
    if (x[i] > x[best] || (x[best] != x[best] && x[i] == x[i])) best = i;
  return best;
}

}  // namespace quantfleet
