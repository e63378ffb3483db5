#include "backends/quantizers/group_grid.h"

#include "backends/formats/half_float.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantfleet {

int GroupGrid::code_of(float value) const {
  const float code = std::nearbyint(value / scale) + static_cast<float>(zero);  // half to even
  return static_cast<int>(std::clamp(code, 0.0f, static_cast<float>(code_max)));
}

namespace {

constexpr int kShrinks = 80;               // ranges that the search tries
constexpr float kSharesOfRange = 100.0f;

// low <= 0 <= high; symmetric: -low == high.
GroupGrid grid_of(float low, float high, int bits, bool symmetric) {
  GroupGrid grid;
  grid.code_max = (1 << bits) - 1;
  const auto steps = static_cast<float>(grid.code_max);
  const float scale = (high - low) / steps;
  grid.scale = std::max(half_to_float(float_to_half(scale)), 0x1p-24f);  // the smallest binary16
  grid.zero = symmetric ? 1 << (bits - 1) : static_cast<int>(std::clamp(std::nearbyint(-low / grid.scale), 0.0f, steps));
  return grid;
}

// Of rounding; no more than `enough` is summed.
double squared_error(const GroupGrid& grid, const float* values, std::int64_t count, double enough) {
  double sum = 0;
  for (std::int64_t i = 0; i < count && sum < enough; ++i) {
    const double error = static_cast<double>(grid.value_of(grid.code_of(values[i])) - values[i]);
    sum += error * error;
  }
  return sum;
}

}  // namespace

GroupGrid fit_group(const float* values, std::int64_t count, int bits, bool symmetric, bool search) {
  float low = 0, high = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  if (symmetric) {
    high = std::max(-low, high);
    low = -high;
  }
  GroupGrid best = grid_of(low, high, bits, symmetric);
  if (!search) return best;
  double best_error = squared_error(best, values, count, std::numeric_limits<double>::infinity());
  for (int step = 1; step < kShrinks; ++step) {
    const float share = 1.0f - static_cast<float>(step) / kSharesOfRange;
    const GroupGrid grid = grid_of(low * share, high * share, bits, symmetric);
    const double error = squared_error(grid, values, count, best_error);
    if (error < best_error) {
      best = grid;
      best_error = error;
    }
  }
  return best;
}

huggingface::GroupedCodes round_groups(std::span<float> weights, std::int64_t rows, std::int64_t columns, int bits, std::int64_t group_size,
                                       bool symmetric, ThreadPool& pool, bool search) {
  huggingface::GroupedCodes coded;
  coded.bits = bits;
  coded.rows = rows;
  coded.columns = columns;
  coded.group_size = group_size;
  const std::int64_t groups = coded.groups();
  coded.codes.resize(weights.size());
  coded.scales.resize(static_cast<std::size_t>(rows * groups));
  coded.zeros.resize(coded.scales.size());
  pool.parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t at = begin * groups; at < end * groups; ++at) {
      float* values = &weights[static_cast<std::size_t>(at * group_size)];
      const GroupGrid grid = fit_group(values, group_size, bits, symmetric, search);
      coded.scales[static_cast<std::size_t>(at)] = grid.scale;
      coded.zeros[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(grid.zero);
      for (std::int64_t i = 0; i < group_size; ++i) {
        const int code = grid.code_of(values[i]);
        coded.codes[static_cast<std::size_t>(at * group_size + i)] = static_cast<std::uint8_t>(code);
        values[i] = grid.value_of(code);
      }
    }
  });
  return coded;
}

}  // namespace quantfleet
