#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/elementary.h"

namespace quantfleet::scalar {
namespace {

float maximum(const float* x, std::int64_t n) {
  float max = x[0];
  for (std::int64_t i = 1; i < n; ++i) max = x[i] > max ? x[i] : max;
  return max + 0.0f;  // one zero: -0 becomes +0
}

}  // namespace

void softmax(const float* x, std::int64_t n, float* y) {
  const float max = maximum(x, n);
  float sums[16] = {};
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = elementary::exp(x[i] - max);
    sums[i % 16] += y[i];
  }
  const float sum = join(sums);
  for (std::int64_t i = 0; i < n; ++i) y[i] /= sum;
}

LogSumExp log_sum_exp(const float* x, std::int64_t n) {
  const float max = maximum(x, n);
  float sums[16] = {};
  for (std::int64_t i = 0; i < n; ++i) sums[i % 16] += elementary::exp(x[i] - max);
  return {max, elementary::log(join(sums))};
}

}  // namespace quantfleet::scalar
