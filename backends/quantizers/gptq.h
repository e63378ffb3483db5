// GPTQ (Frantar et al. 2022): columns are quantized one after the other, and each one's error is made up for by the columns
// that follow, as the inputs' second moments (the Hessian of the squared output error) say is best.
// Matrices that multiply the same input share one solver: its cost is in the Hessian.
// Blocks of 128 columns; same bits for any thread count and instruction set.
#pragma once

#include "backends/huggingface/linear_format.h"
#include "backends/kernels/gemm_f32.h"
#include "contract/error.h"

#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet {

struct GptqOptions {
  int bits = 4;                    // 2, 3, 4, 8
  std::int64_t group_size = 128;   // inputs that share a scale; -1: all
  bool symmetric = true;           // zero point in the middle
  bool act_order = false;          // columns in descending order of their mean squared input
  double damping = 0.01;           // of the mean diagonal, added to it; grows by 0.01 where the factorization fails
  bool search_grid = false;        // group_grid.h: shrinks ranges to where rounding costs least
};

// What error feedback needs of the inputs, shared by all matrices that multiply them. The order in which columns are quantized: as they are,
// or by descending mean squared input.
struct ErrorFeedback {
  std::vector<float> inverse;          // [K, K]: U with (H + damping)^-1 = U^T U, columns in `order`
  std::vector<std::int64_t> order;     // order[i]: the column that is i-th
  std::vector<bool> dead;              // columns whose input is always zero
  double damping = 0;                  // that was needed

  std::int64_t columns() const { return static_cast<std::int64_t>(order.size()); }
  // weights [N, K] into that order, dead columns as zeros; and back.
  void reorder(std::span<float> weights, std::int64_t rows, ThreadPool& pool) const;
  void restore(std::span<float> weights, std::int64_t rows, ThreadPool& pool) const;
  // Columns `last` and following lose what the errors [N, last - first] of columns first .. last - 1 (divided by U_ii, negative) leave.
  void pass_on(std::span<float> weights, std::int64_t rows, std::int64_t first, std::int64_t last, std::span<const float> negative_errors, GemmF32& gemm) const;

  // hessian [K, K]: the sum of x x^T over the inputs x, of which the upper triangle counts. damping: of the mean diagonal, more where needed.
  // Errors: kNonFinite, kBadValue (not positive definite even with a damping of 1).
  static Result<ErrorFeedback> create(std::span<const float> hessian, std::int64_t columns, bool by_importance, double damping, GemmF32& gemm);
};

class GptqSolver {
 public:
  // Errors: kBadShape (the group does not divide K), and those of ErrorFeedback.
  static Result<GptqSolver> create(std::span<const float> hessian, std::int64_t columns, const GptqOptions& options, GemmF32& gemm);

  // weights [N, K], replaced by the values of their codes.
  huggingface::GroupedCodes quantize(std::span<float> weights, std::int64_t rows, GemmF32& gemm, ThreadPool& pool) const;

  double damping() const { return feedback_.damping; }  // that was needed

 private:
  GptqOptions options_;
  std::int64_t group_size_ = 0;
  ErrorFeedback feedback_;
};

// The sum over rows d of `difference` [N, K] of d H d^T: the squared output error over the inputs whose x x^T H sums.
// hessian [K, K], both triangles.
double output_error(std::span<const float> difference, std::span<const float> hessian, std::int64_t rows, std::int64_t columns, GemmF32& gemm);

}  // namespace quantfleet
