#include "backends/quantizers/group_grid.h"

#include "backends/formats/half_float.h"

#include <algorithm>
#include <cmath>

namespace quantfleet {

int GroupGrid::code_of(float value) const {
  const float code = std::nearbyint(value / scale) + static_cast<float>(zero);  // half to even
  return static_cast<int>(std::clamp(code, 0.0f, static_cast<float>(code_max)));
}

GroupGrid fit_group(const float* values, std::int64_t count, int bits, bool symmetric) {
  float low = 0, high = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
  }
  GroupGrid grid;
  grid.code_max = (1 << bits) - 1;
  const auto steps = static_cast<float>(grid.code_max);
  if (symmetric) {
    high = std::max(-low, high);
    low = -high;
  }
  const float scale = (high - low) / steps;
  grid.scale = std::max(half_to_float(float_to_half(scale)), 0x1p-24f);  // the smallest binary16
  grid.zero = symmetric ? 1 << (bits - 1) : static_cast<int>(std::clamp(std::nearbyint(-low / grid.scale), 0.0f, steps));
  return grid;
}

huggingface::GroupedCodes round_groups(std::span<float> weights, std::int64_t rows, std::int64_t columns, int bits, std::int64_t group_size,
                                       bool symmetric, ThreadPool& pool) {
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
      const GroupGrid grid = fit_group(values, group_size, bits, symmetric);
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
