#include "backends/quantizers/sparse_gpt.h"

#include "backends/formats/half_float.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace quantfleet {

namespace {

constexpr std::int64_t kBlock = 128;  // columns between two updates of all that follow; whole fours

// The two of four weights that stay, ascending: the largest w / U_ii, the earlier of equals.
std::array<int, 2> kept_of(const float* w, const float* diagonal) {
  std::array<int, 4> order = {0, 1, 2, 3};
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return std::fabs(w[a]) / diagonal[a] > std::fabs(w[b]) / diagonal[b]; });
  return {std::min(order[0], order[1]), std::max(order[0], order[1])};
}

}  // namespace

huggingface::SparseCodes prune_and_quantize(std::span<float> weights, std::int64_t rows, const ErrorFeedback& feedback, int bits, std::int64_t group_size, GemmF32& gemm, ThreadPool& pool) {
  const std::int64_t K = feedback.columns(), groups = K / group_size;
  huggingface::SparseCodes coded;
  coded.bits = bits;
  coded.rows = rows;
  coded.columns = K;
  coded.group_size = group_size;
  coded.codes.resize(static_cast<std::size_t>(rows * K / 2));
  coded.places.resize(static_cast<std::size_t>(rows * K / 4));
  coded.scales.resize(static_cast<std::size_t>(rows * groups));
  std::vector<float> diagonal(static_cast<std::size_t>(K)), negative_errors(static_cast<std::size_t>(rows * kBlock));
  for (std::int64_t k = 0; k < K; ++k) diagonal[static_cast<std::size_t>(k)] = feedback.inverse[static_cast<std::size_t>(k * K + k)];
  const float half_range = static_cast<float>((1 << bits) - 1) / 2, low = -static_cast<float>(1 << (bits - 1)), high = -low - 1;
  feedback.reorder(weights, rows, pool);
  for (std::int64_t first = 0; first < K; first += kBlock) {
    const std::int64_t last = std::min(first + kBlock, K), width = last - first;
    pool.parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        float* w = &weights[static_cast<std::size_t>(row * K)];
        for (std::int64_t four = first; four < last; four += 4) {
          float& scale = coded.scales[static_cast<std::size_t>(row * groups + four / group_size)];
          if (four % group_size == 0) {
            float largest = 0;
            for (std::int64_t i = four; i < four + group_size; i += 4)
              for (const int kept : kept_of(w + i, &diagonal[static_cast<std::size_t>(i)])) largest = std::max(largest, std::fabs(w[i + kept]));
            scale = half_to_float(float_to_half(std::max(largest / half_range, std::numeric_limits<float>::epsilon())));
          }
          const std::array<int, 2> kept = kept_of(w + four, &diagonal[static_cast<std::size_t>(four)]);
          coded.places[static_cast<std::size_t>(row * K / 4 + four / 4)] = static_cast<std::uint8_t>(kept[0] + 4 * kept[1]);
          int stored = 0;
          for (int i = 0; i < 4; ++i) {
            const std::int64_t k = four + i;
            const float* u = &feedback.inverse[static_cast<std::size_t>(k * K)];
            float value = 0;
            if (i == kept[0] || i == kept[1]) {
              const float code = std::clamp(std::nearbyint(w[k] / scale), low, high);
              coded.codes[static_cast<std::size_t>(row * K / 2 + four / 2 + stored++)] = static_cast<std::int8_t>(code);
              value = code * scale;
            }
            const float error = (w[k] - value) / u[k];
            w[k] = value;
            for (std::int64_t j = k + 1; j < last; ++j) w[j] -= error * u[j];
            negative_errors[static_cast<std::size_t>(row * width + k - first)] = -error;
          }
        }
      }
    });
    feedback.pass_on(weights, rows, first, last, negative_errors, gemm);
  }
  feedback.restore(weights, rows, pool);
  return coded;
}

}  // namespace quantfleet
