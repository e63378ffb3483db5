#include "backends/quantizers/smoothquant.h"

#include "backends/kernels/elementary.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantfleet {

std::vector<float> smoothing_scales(std::span<const float> max_inputs, std::span<const std::span<const float>> matrices, double alpha) {
  const std::size_t K = max_inputs.size();
  std::vector<float> max_weights(K), scales(K, 1.0f);
  for (const std::span<const float> weights : matrices)
    for (std::size_t i = 0; i < weights.size(); ++i) max_weights[i % K] = std::max(max_weights[i % K], std::fabs(weights[i]));
  for (std::size_t k = 0; k < K; ++k) {
    if (!(max_inputs[k] > 0) || !(max_weights[k] > 0)) continue;
    const double scale = elementary::pow(static_cast<double>(max_inputs[k]), alpha) / elementary::pow(static_cast<double>(max_weights[k]), 1 - alpha);
    scales[k] = std::max(static_cast<float>(scale), 1e-5f);
  }
  return scales;
}

float static_input_scale(float largest) { return std::max((largest > 0 ? largest : 1.0f) / 127.5f, std::numeric_limits<float>::epsilon()); }

}  // namespace quantfleet
