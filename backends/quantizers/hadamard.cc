#include "backends/quantizers/hadamard.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace quantfleet {

namespace {

constexpr std::int64_t kLargestPaley = 1024;

bool is_prime(std::int64_t q) {
  for (std::int64_t d = 2; d * d <= q; ++d)
    if (q % d == 0) return false;
  return q > 1;
}

// Jacobsthal's matrix: Q[i][j] = 1, -1 or 0 as i - j is a square, no square or 0 modulo the prime q.
std::vector<std::int8_t> jacobsthal(std::int64_t q) {
  std::vector<std::int8_t> kind(static_cast<std::size_t>(q), -1), matrix;
  kind[0] = 0;
  for (std::int64_t i = 1; i < q; ++i) kind[static_cast<std::size_t>(i * i % q)] = 1;
  for (std::int64_t i = 0; i < q; ++i)
    for (std::int64_t j = 0; j < q; ++j) matrix.push_back(kind[static_cast<std::size_t>((i - j + q) % q)]);
  return matrix;
}

// Paley's constructions (1933). Empty: there is none of this order.
std::vector<std::int8_t> paley(std::int64_t m) {
  const auto M = static_cast<std::size_t>(m);
  std::vector<std::int8_t> h(M * M);
  if (const std::int64_t q = m - 1; m % 4 == 0 && is_prime(q)) {  // I + S, S = [0 1; -1 Q] skew
    const std::vector<std::int8_t> Q = jacobsthal(q);
    for (std::size_t i = 0; i < M; ++i)
      for (std::size_t j = 0; j < M; ++j)
        h[i * M + j] = static_cast<std::int8_t>((i == j) + (i == 0 ? j > 0 : j == 0 ? -1 : Q[(i - 1) * (M - 1) + j - 1]));
    return h;
  }
  if (const std::int64_t q = m / 2 - 1; m % 4 == 0 && q % 4 == 1 && is_prime(q)) {  // C (x) [1 1; 1 -1] + I (x) [1 -1; -1 -1], C = [0 1; 1 Q] symmetric
    const std::vector<std::int8_t> Q = jacobsthal(q);
    const auto half = static_cast<std::size_t>(m / 2);
    for (std::size_t i = 0; i < M; ++i)
      for (std::size_t j = 0; j < M; ++j) {
        const std::size_t a = i / 2, b = j / 2;
        const int c = a == b ? 0 : a == 0 || b == 0 ? 1 : Q[(a - 1) * (half - 1) + b - 1];
        const int both = i % 2 == 1 && j % 2 == 1 ? -1 : 1, same = i % 2 == 0 && j % 2 == 0 ? 1 : -1;
        h[i * M + j] = static_cast<std::int8_t>(a == b ? same : c * both);
      }
    return h;
  }
  return {};
}

// Steele et al. 2014.
std::uint64_t splitmix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

}  // namespace

Result<HadamardRotation> HadamardRotation::create(std::int64_t n, std::uint64_t seed) {
  HadamardRotation rotation;
  rotation.n_ = n;
  for (std::int64_t two = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(n))); two >= 1 && rotation.matrix_.empty(); two /= 2) {
    if (n % two != 0) continue;
    rotation.m_ = n / two;
    rotation.matrix_ = rotation.m_ == 1 ? std::vector<std::int8_t>{1} : rotation.m_ <= kLargestPaley ? paley(rotation.m_) : std::vector<std::int8_t>();
  }
  if (rotation.matrix_.empty()) return Error{Code::kUnsupported, fmt::format("no Hadamard matrix of {} rows can be made here", n)};
  for (std::int64_t i = 0; i < n; ++i) rotation.signs_.push_back(splitmix64(splitmix64(seed) + static_cast<std::uint64_t>(i)) >> 63 ? -1.0 : 1.0);
  return rotation;
}

void HadamardRotation::apply(double* x, std::int64_t lanes) const {
  for (std::int64_t i = 0; i < n_; ++i)
    for (std::int64_t j = 0; j < lanes; ++j) x[i * lanes + j] *= signs_[static_cast<std::size_t>(i)];
  if (m_ > 1) {
    std::vector<double> block(static_cast<std::size_t>(m_ * lanes));
    for (std::int64_t begin = 0; begin < n_; begin += m_) {
      double* part = x + begin * lanes;
      std::fill(block.begin(), block.end(), 0.0);
      for (std::int64_t i = 0; i < m_; ++i)
        for (std::int64_t k = 0; k < m_; ++k) {
          const double sign = matrix_[static_cast<std::size_t>(i * m_ + k)];
          for (std::int64_t j = 0; j < lanes; ++j) block[static_cast<std::size_t>(k * lanes + j)] += sign * part[i * lanes + j];
        }
      std::copy(block.begin(), block.end(), part);
    }
  }
  for (std::int64_t step = m_; step < n_; step *= 2)
    for (std::int64_t begin = 0; begin < n_; begin += 2 * step)
      for (std::int64_t i = begin * lanes; i < (begin + step) * lanes; ++i) {
        const double a = x[i], b = x[i + step * lanes];
        x[i] = a + b;
        x[i + step * lanes] = a - b;
      }
  const double scale = 1.0 / std::sqrt(static_cast<double>(n_));
  for (std::int64_t i = 0; i < n_ * lanes; ++i) x[i] *= scale;
}

}  // namespace quantfleet
