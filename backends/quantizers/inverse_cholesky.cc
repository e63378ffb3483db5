#include "backends/quantizers/inverse_cholesky.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace quantfleet {

namespace {

constexpr std::int64_t kBlock = 128;
constexpr std::int64_t kRowsAtOnce = 512;  // of the trailing matrix

// Factorizes the lower triangle of a [size, size] block in place, in double. false: a pivot is not positive.
bool factorize_block(float* a, std::int64_t stride, std::int64_t size) {
  for (std::int64_t j = 0; j < size; ++j) {
    for (std::int64_t i = j; i < size; ++i) {
      double sum = static_cast<double>(a[i * stride + j]);
      for (std::int64_t k = 0; k < j; ++k) sum -= static_cast<double>(a[i * stride + k]) * static_cast<double>(a[j * stride + k]);
      if (i == j) {
        if (!(sum > 0) || !std::isfinite(sum)) return false;
        a[i * stride + j] = static_cast<float>(std::sqrt(sum));
      } else {
        a[i * stride + j] = static_cast<float>(sum / static_cast<double>(a[j * stride + j]));
      }
    }
  }
  return true;
}

// inverse [size, size] of a lower triangular block; above the diagonal zero.
void invert_block(const float* l, std::int64_t stride, std::int64_t size, float* inverse) {
  std::fill(inverse, inverse + size * size, 0.0f);
  for (std::int64_t j = 0; j < size; ++j)
    for (std::int64_t i = j; i < size; ++i) {
      double sum = i == j ? 1.0 : 0.0;
      for (std::int64_t k = j; k < i; ++k) sum -= static_cast<double>(l[i * stride + k]) * static_cast<double>(inverse[k * size + j]);
      inverse[i * size + j] = static_cast<float>(sum / static_cast<double>(l[i * stride + i]));
    }
}

// h = L L^T in the lower triangle; inverses: of the diagonal blocks, one behind the other.
bool factorize(float* h, std::int64_t n, GemmF32& gemm, std::vector<float>& inverses) {
  std::vector<float> panel(static_cast<std::size_t>(n * kBlock)), negative(panel.size());
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, n - begin), end = begin + size, below = n - end;
    float* diagonal = h + begin * n + begin;
    if (!factorize_block(diagonal, n, size)) return false;
    float* inverse = inverses.data() + begin * kBlock;
    invert_block(diagonal, n, size, inverse);
    if (below == 0) break;
    // L_ib = A_ib L_bb^-T, then A_ij -= L_ib L_jb^T.
    gemm.run({h + end * n + begin, n, 1}, {inverse, 1, size}, below, size, size, panel.data(), size, false);
    for (std::int64_t i = 0; i < below; ++i) std::memcpy(h + (end + i) * n + begin, &panel[static_cast<std::size_t>(i * size)], static_cast<std::size_t>(size) * sizeof(float));
    std::transform(panel.begin(), panel.begin() + below * size, negative.begin(), [](float value) { return -value; });
    for (std::int64_t row = 0; row < below; row += kRowsAtOnce) {
      const std::int64_t rows = std::min(kRowsAtOnce, below - row);
      gemm.run({negative.data() + row * size, size, 1}, {panel.data(), 1, size}, rows, row + rows, size, h + (end + row) * n + end, n, true);
    }
  }
  return true;
}

}  // namespace

bool inverse_cholesky(float* h, std::int64_t n, GemmF32& gemm) {
  std::reverse(h, h + n * n);  // J H J: the upper triangle becomes the lower one
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  std::vector<float> inverses(static_cast<std::size_t>(blocks * kBlock * kBlock));
  if (!factorize(h, n, gemm, inverses)) return false;
  // X = L^-1, a row of blocks at a time: X_i = -L_ii^-1 (sum over k < i of L_ik X_k).
  std::vector<float> sums(static_cast<std::size_t>(kBlock * n)), negative(static_cast<std::size_t>(kBlock * kBlock));
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, n - begin);
    float* rows = h + begin * n;
    const float* inverse = inverses.data() + begin * kBlock;
    if (begin > 0) {
      gemm.run({rows, n, 1}, {h, n, 1}, size, begin, begin, sums.data(), begin, false);
      std::transform(inverse, inverse + size * size, negative.begin(), [](float value) { return -value; });
      gemm.run({negative.data(), size, 1}, {sums.data(), begin, 1}, size, begin, size, rows, n, false);
    }
    for (std::int64_t i = 0; i < size; ++i) {
      std::memcpy(rows + i * n + begin, inverse + i * size, static_cast<std::size_t>(size) * sizeof(float));
      std::fill(rows + i * n + begin + size, rows + (i + 1) * n, 0.0f);
    }
  }
  std::reverse(h, h + n * n);
  return true;
}

}  // namespace quantfleet
