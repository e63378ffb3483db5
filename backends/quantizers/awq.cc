#include "backends/quantizers/awq.h"

#include "backends/kernels/elementary.h"
#include "backends/quantizers/gptq.h"
#include "backends/quantizers/group_grid.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantfleet {

namespace {

// w-bar: the mean over all rows of |w| as a share of the largest of its group.
std::vector<double> mean_shares(std::span<const std::span<const float>> matrices, std::int64_t columns, std::int64_t group_size) {
  std::vector<double> shares(static_cast<std::size_t>(columns));
  std::int64_t count_rows = 0;
  for (const std::span<const float> weights : matrices) {
    const std::int64_t rows = static_cast<std::int64_t>(weights.size()) / columns;
    count_rows += rows;
    for (std::int64_t begin = 0; begin < rows * columns; begin += group_size) {
      const float* w = &weights[static_cast<std::size_t>(begin)];
      float largest = 0;
      for (std::int64_t i = 0; i < group_size; ++i) largest = std::max(largest, std::fabs(w[i]));
      for (std::int64_t i = 0; i < group_size; ++i)
        shares[static_cast<std::size_t>(begin % columns + i)] += static_cast<double>(std::fabs(w[i]) / (largest + 1e-6f));
    }
  }
  for (double& share : shares) share /= static_cast<double>(count_rows);
  return shares;
}

// x^r for x >= 0 by our own elementary functions, so that every machine has the same bits.
float power(double x, double r) {
  if (!(x > 0)) return r > 0 ? 0.0f : 1.0f;
  return static_cast<float>(elementary::pow(x, r));
}

// s = x-bar^r / (w-bar^(1-r) + 1e-4), then divided by sqrt(max * min).
std::vector<float> scales_of(const AwqInputs& inputs, const std::vector<double>& shares, double exponent) {
  std::vector<float> scales(shares.size());
  float low = std::numeric_limits<float>::max(), high = 0;
  for (std::size_t k = 0; k < scales.size(); ++k) {
    scales[k] = std::max(power(inputs.mean_magnitude[k], exponent) / (power(shares[k], 1 - exponent) + 1e-4f), 1e-4f);
    low = std::min(low, scales[k]);
    high = std::max(high, scales[k]);
  }
  const float middle = std::sqrt(high * low);
  for (float& scale : scales) {
    scale /= middle;
    if (!std::isfinite(scale) || !(scale > 0)) scale = 1;
  }
  return scales;
}

}  // namespace

std::vector<float> search_scales(const AwqInputs& inputs, std::span<const std::span<const float>> matrices, const AwqOptions& options,
                                 GemmF32& gemm, ThreadPool& pool) {
  const auto columns = static_cast<std::int64_t>(inputs.mean_magnitude.size());
  const std::vector<double> shares = mean_shares(matrices, columns, options.group_size);
  std::vector<float> best, difference;
  double best_error = std::numeric_limits<double>::infinity();
  for (int step = 0; step < options.scale_steps; ++step) {
    std::vector<float> scales = scales_of(inputs, shares, static_cast<double>(step) / options.scale_steps);
    double error = 0;
    for (const std::span<const float> weights : matrices) {
      const std::int64_t rows = static_cast<std::int64_t>(weights.size()) / columns;
      difference.assign(weights.begin(), weights.end());
      const auto over_rows = [&](const auto& body) {
        pool.parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
          for (std::int64_t at = begin * columns; at < end * columns; ++at) body(static_cast<std::size_t>(at), static_cast<std::size_t>(at % columns));
        });
      };
      over_rows([&](std::size_t at, std::size_t k) { difference[at] *= scales[k]; });
      round_groups(difference, rows, columns, options.bits, options.group_size, false, pool);
      over_rows([&](std::size_t at, std::size_t k) { difference[at] = difference[at] / scales[k] - weights[at]; });
      error += output_error(difference, inputs.second_moments, rows, columns, gemm);
    }
    if (error < best_error) {
      best_error = error;
      best = std::move(scales);
    }
  }
  if (best.empty()) best.assign(static_cast<std::size_t>(columns), 1.0f);
  return best;
}

void clip_groups(std::span<float> weights, std::int64_t rows, std::span<const float> second_moments, std::int64_t columns,
                 const AwqOptions& options, GemmF32& gemm, ThreadPool& pool) {
  const std::int64_t size = options.group_size;
  std::vector<float> difference(static_cast<std::size_t>(rows * size)), products(difference.size());
  std::vector<float> limits(static_cast<std::size_t>(rows)), best(static_cast<std::size_t>(rows));
  std::vector<double> best_error(static_cast<std::size_t>(rows));
  for (std::int64_t first = 0; first < columns; first += size) {
    std::fill(best_error.begin(), best_error.end(), std::numeric_limits<double>::infinity());
    for (int step = 0; step < options.clip_steps / 2; ++step) {
      const float share = 1.0f - static_cast<float>(step) / static_cast<float>(options.clip_steps);
      pool.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
          const float* w = &weights[static_cast<std::size_t>(row * columns + first)];
          float* d = &difference[static_cast<std::size_t>(row * size)];
          float largest = 0;
          for (std::int64_t i = 0; i < size; ++i) largest = std::max(largest, std::fabs(w[i]));
          const float limit = largest * share;
          limits[static_cast<std::size_t>(row)] = limit;
          for (std::int64_t i = 0; i < size; ++i) d[i] = std::clamp(w[i], -limit, limit);
          const GroupGrid grid = fit_group(d, size, options.bits, false);
          for (std::int64_t i = 0; i < size; ++i) d[i] = grid.value_of(grid.code_of(d[i])) - w[i];
        }
      });
      gemm.run({difference.data(), size, 1}, {&second_moments[static_cast<std::size_t>(first * columns + first)], columns, 1}, rows, size, size, products.data(), size, false);
      pool.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
          double error = 0;
          for (std::int64_t i = row * size; i < (row + 1) * size; ++i) error += static_cast<double>(difference[static_cast<std::size_t>(i)]) * static_cast<double>(products[static_cast<std::size_t>(i)]);
          if (!(error < best_error[static_cast<std::size_t>(row)])) continue;
          best_error[static_cast<std::size_t>(row)] = error;
          best[static_cast<std::size_t>(row)] = limits[static_cast<std::size_t>(row)];
        }
      });
    }
    pool.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float limit = best[static_cast<std::size_t>(row)];
        float* w = &weights[static_cast<std::size_t>(row * columns + first)];
        for (std::int64_t i = 0; i < size; ++i) w[i] = std::clamp(w[i], -limit, limit);
      }
    });
  }
}

}  // namespace quantfleet
