#include "backends/quantizers/gptq.h"

#include "backends/quantizers/group_grid.h"
#include "backends/quantizers/inverse_cholesky.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace quantfleet {

namespace {

constexpr std::int64_t kBlock = 128;  // columns between two updates of all that follow

// move(copy of a row, row) for every row [K].
template <class Move>
void for_each_row(std::span<float> weights, std::int64_t rows, std::int64_t K, ThreadPool& pool, const Move& move) {
  pool.parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> copy(static_cast<std::size_t>(K));
    for (std::int64_t row = begin; row < end; ++row) {
      float* w = &weights[static_cast<std::size_t>(row * K)];
      std::copy(w, w + K, copy.begin());
      move(copy.data(), w);
    }
  });
}

}  // namespace

Result<ErrorFeedback> ErrorFeedback::create(std::span<const float> hessian, std::int64_t columns, bool by_importance, double damping, GemmF32& gemm) {
  ErrorFeedback feedback;
  const auto at = [&](std::int64_t i, std::int64_t j) { return hessian[static_cast<std::size_t>(i <= j ? i * columns + j : j * columns + i)]; };
  std::vector<float> diagonal(static_cast<std::size_t>(columns));
  double sum = 0;
  for (std::int64_t i = 0; i < columns; ++i) {
    float& value = diagonal[static_cast<std::size_t>(i)];
    value = at(i, i);
    if (!std::isfinite(value)) return Error{Code::kNonFinite, fmt::format("the squared inputs of column {} sum to {}", i, value)};
    feedback.dead.push_back(!(value > 0));
    if (feedback.dead.back()) value = 1;
    sum += static_cast<double>(value);
  }
  std::vector<std::int64_t>& order = feedback.order;
  order.resize(static_cast<std::size_t>(columns));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (by_importance)
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return diagonal[static_cast<std::size_t>(a)] > diagonal[static_cast<std::size_t>(b)]; });
  const double mean = sum / static_cast<double>(columns);
  for (feedback.damping = damping; feedback.damping <= 1.0; feedback.damping += 0.01) {
    std::vector<float>& inverse = feedback.inverse;
    inverse.resize(static_cast<std::size_t>(columns * columns));
    for (std::int64_t i = 0; i < columns; ++i)
      for (std::int64_t j = i; j < columns; ++j) inverse[static_cast<std::size_t>(i * columns + j)] = at(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
    for (std::int64_t i = 0; i < columns; ++i)
      inverse[static_cast<std::size_t>(i * columns + i)] = static_cast<float>(static_cast<double>(diagonal[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]) + feedback.damping * mean);
    if (inverse_cholesky(inverse.data(), columns, gemm)) return feedback;
  }
  return Error{Code::kBadValue, "the second moments of the inputs are not positive definite, even with a damping of 1"};
}

void ErrorFeedback::reorder(std::span<float> weights, std::int64_t rows, ThreadPool& pool) const {
  for_each_row(weights, rows, columns(), pool, [&](const float* in_place, float* ordered) {
    for (std::size_t i = 0; i < order.size(); ++i) ordered[i] = dead[static_cast<std::size_t>(order[i])] ? 0.0f : in_place[order[i]];
  });
}

void ErrorFeedback::restore(std::span<float> weights, std::int64_t rows, ThreadPool& pool) const {
  for_each_row(weights, rows, columns(), pool, [&](const float* ordered, float* in_place) {
    for (std::size_t i = 0; i < order.size(); ++i) in_place[order[i]] = ordered[i];
  });
}

void ErrorFeedback::pass_on(std::span<float> weights, std::int64_t rows, std::int64_t first, std::int64_t last, std::span<const float> negative_errors, GemmF32& gemm) const {
  const std::int64_t K = columns(), width = last - first;
  if (last < K)
    gemm.run({negative_errors.data(), width, 1}, {&inverse[static_cast<std::size_t>(first * K + last)], K, 1}, rows, K - last, width, &weights[static_cast<std::size_t>(last)], K, true);
}

Result<GptqSolver> GptqSolver::create(std::span<const float> hessian, std::int64_t columns, const GptqOptions& options, GemmF32& gemm) {
  GptqSolver solver;
  solver.options_ = options;
  solver.group_size_ = options.group_size < 0 ? columns : options.group_size;
  if (solver.group_size_ == 0 || columns % solver.group_size_ != 0)
    return Error{Code::kBadShape, fmt::format("{} inputs do not divide into groups of {}", columns, options.group_size)};
  auto feedback = ErrorFeedback::create(hessian, columns, options.act_order, options.damping, gemm);
  if (!feedback) return feedback.error();
  solver.feedback_ = std::move(*feedback);
  return solver;
}

huggingface::GroupedCodes GptqSolver::quantize(std::span<float> weights, std::int64_t rows, GemmF32& gemm, ThreadPool& pool) const {
  const std::int64_t K = feedback_.columns(), size = group_size_;
  const std::vector<std::int64_t>& order = feedback_.order;
  huggingface::GroupedCodes coded;
  coded.bits = options_.bits;
  coded.rows = rows;
  coded.columns = K;
  coded.group_size = size;
  const std::int64_t groups = coded.groups();
  coded.codes.resize(static_cast<std::size_t>(rows * K));
  coded.scales.resize(static_cast<std::size_t>(rows * groups));
  coded.zeros.resize(coded.scales.size());
  if (options_.act_order) {
    coded.g_idx.resize(static_cast<std::size_t>(K));
    for (std::int64_t i = 0; i < K; ++i) coded.g_idx[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = static_cast<std::int32_t>(i / size);
  }
  feedback_.reorder(weights, rows, pool);
  std::vector<float> negative_errors(static_cast<std::size_t>(rows * kBlock));
  std::vector<GroupGrid> grids(static_cast<std::size_t>(rows));
  for (std::int64_t first = 0; first < K; first += kBlock) {
    const std::int64_t last = std::min(first + kBlock, K), width = last - first;
    pool.parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        float* w = &weights[static_cast<std::size_t>(row * K)];
        GroupGrid& grid = grids[static_cast<std::size_t>(row)];
        for (std::int64_t i = first; i < last; ++i) {
          if (i % size == 0) {
            grid = fit_group(w + i, size, options_.bits, options_.symmetric, options_.search_grid);
            coded.scales[static_cast<std::size_t>(row * groups + i / size)] = grid.scale;
            coded.zeros[static_cast<std::size_t>(row * groups + i / size)] = static_cast<std::uint8_t>(grid.zero);
          }
          const float* u = &feedback_.inverse[static_cast<std::size_t>(i * K)];
          const int code = grid.code_of(w[i]);
          const float value = grid.value_of(code), error = (w[i] - value) / u[i];
          coded.codes[static_cast<std::size_t>(row * K + order[static_cast<std::size_t>(i)])] = static_cast<std::uint8_t>(code);
          w[i] = value;
          for (std::int64_t j = i + 1; j < last; ++j) w[j] -= error * u[j];
          negative_errors[static_cast<std::size_t>(row * width + i - first)] = -error;
        }
      }
    });
    feedback_.pass_on(weights, rows, first, last, negative_errors, gemm);
  }
  feedback_.restore(weights, rows, pool);
  return coded;
}

double output_error(std::span<const float> difference, std::span<const float> hessian, std::int64_t rows, std::int64_t columns, GemmF32& gemm) {
  constexpr std::int64_t kRowsAtOnce = 256;
  std::vector<float> products(static_cast<std::size_t>(std::min(kRowsAtOnce, rows) * columns));
  double sum = 0;
  for (std::int64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, rows - begin);
    const float* d = &difference[static_cast<std::size_t>(begin * columns)];
    gemm.run({d, columns, 1}, {hessian.data(), columns, 1}, count, columns, columns, products.data(), columns, false);
    for (std::int64_t i = 0; i < count * columns; ++i) sum += static_cast<double>(d[i]) * static_cast<double>(products[static_cast<std::size_t>(i)]);
  }
  return sum;
}

}  // namespace quantfleet
