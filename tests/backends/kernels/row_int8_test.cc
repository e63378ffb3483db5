// Rows of int8 with int8 activations: the definition in plain loops of this file, every family's bits, every number of threads
// and companions, outliers and calibrated scales.
#include "backends/formats/row_int8.h"
#include "backends/kernels/kernels.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace quantfleet;

namespace {

struct Matrix {
  std::int64_t rows, columns;
  std::vector<std::int8_t> codes;
  std::vector<float> scales;

  Matrix(std::int64_t count_rows, std::int64_t count_columns, unsigned seed) : rows(count_rows), columns(count_columns) {
    std::mt19937 random(seed);
    for (std::int64_t i = 0; i < rows * columns; ++i) codes.push_back(static_cast<std::int8_t>(random() % 256 - 128));
    for (std::int64_t n = 0; n < rows; ++n) scales.push_back(static_cast<float>(random() % 1000) * 1e-5f);
    for (std::int64_t k = 0; k < columns; ++k) codes[static_cast<std::size_t>(k)] = -128;  // a row of extremes
  }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(static_cast<std::size_t>(rows * (kRowInt8HeaderBytes + columns)));
    const auto width = static_cast<std::int32_t>(columns);
    for (std::int64_t n = 0; n < rows; ++n) {
      std::byte* row = out.data() + n * (kRowInt8HeaderBytes + columns);
      std::memcpy(row, &width, 4);
      std::memcpy(row + 4, &scales[static_cast<std::size_t>(n)], 4);
      std::memcpy(row + 8, codes.data() + n * columns, static_cast<std::size_t>(columns));
    }
    return out;
  }
};

std::vector<float> activations(std::int64_t tokens, std::int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> x;
  for (std::int64_t i = 0; i < tokens * columns; ++i) x.push_back((static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f) * (random() % 37 == 0 ? 9.0f : 1.5f));
  return x;
}

std::vector<float> multiply(const KernelFamily& family, const Matrix& matrix, const BlockFormat& format, const std::vector<float>& x, std::int64_t tokens, ActivationKind kind, int threads) {
  ThreadPool pool(threads);
  const WeightMatrix w = *WeightMatrix::pack(family, format, matrix.bytes(), matrix.rows, matrix.columns, pool);
  std::vector<float> y(static_cast<std::size_t>(tokens * matrix.rows), -1.0f);
  MatmulScratch scratch;
  matmul(w, x.data(), tokens, matrix.columns, kind, y.data(), matrix.rows, pool, scratch);
  return y;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0; }

// docs/numerics.md, written once more.
float expected(const Matrix& m, std::int64_t n, const float* x, float input_scale, float threshold) {
  float amax = 0;
  for (std::int64_t k = 0; k < m.columns; ++k)
    if (threshold == 0 || std::fabs(x[k]) < threshold) amax = std::max(amax, std::fabs(x[k]));
  const float scale = input_scale > 0 ? input_scale : amax / 127.0f;
  std::int64_t sum = 0;
  for (std::int64_t k = 0; k < m.columns; ++k) {
    if (threshold > 0 && std::fabs(x[k]) >= threshold) continue;
    const float code = input_scale > 0 ? std::clamp(std::nearbyintf(x[k] / scale), -128.0f, 127.0f) : std::nearbyintf(x[k] * (127.0f / amax));
    sum += static_cast<std::int64_t>(code) * m.codes[static_cast<std::size_t>(n * m.columns + k)];
  }
  const float weight_scale = m.scales[static_cast<std::size_t>(n)];
  float y = (weight_scale * scale) * static_cast<float>(sum);
  for (std::int64_t k = 0; k < m.columns; ++k)
    if (threshold > 0 && std::fabs(x[k]) >= threshold) y = std::fma(static_cast<float>(m.codes[static_cast<std::size_t>(n * m.columns + k)]) * weight_scale, x[k], y);
  return y;
}

TEST_CASE("int8 rows: every family computes what numerics.md says, for all shapes, threads and kinds of activation scale", "[kernels][int8]") {
  for (const KernelFamily* family : available_kernels())
    for (const auto& [rows, columns] : {std::pair(1, 1), std::pair(5, 63), std::pair(16, 64), std::pair(19, 65), std::pair(33, 200), std::pair(7, 4096)})
      for (const auto& [input_scale, threshold] : {std::pair(0.0f, 0.0f), std::pair(0.0f, 6.0f), std::pair(0.02f, 0.0f)})
        for (const std::int64_t tokens : {1, 3, 4, 9, 70}) {
          CAPTURE(family->name, rows, columns, input_scale, threshold, tokens);
          const Matrix matrix(rows, columns, 7);
          const auto x = activations(tokens, columns, 11);
          const auto y = multiply(*family, matrix, *row_int8_format(columns, input_scale, threshold), x, tokens, ActivationKind::kInt8, tokens % 2 ? 1 : 3);
          std::vector<float> wanted;
          for (std::int64_t t = 0; t < tokens; ++t)
            for (std::int64_t n = 0; n < rows; ++n) wanted.push_back(expected(matrix, n, x.data() + t * columns, input_scale, threshold));
          REQUIRE(same_bits(y, wanted));
        }
}

TEST_CASE("int8 rows: a token's outliers are its own: companions change nothing", "[kernels][int8]") {
  const Matrix matrix(24, 128, 3);
  auto x = activations(6, 128, 5);
  const BlockFormat& format = *row_int8_format(128, 0, 6);
  for (const KernelFamily* family : available_kernels()) {
    const auto all = multiply(*family, matrix, format, x, 6, ActivationKind::kInt8, 2);
    for (std::int64_t t = 0; t < 6; ++t) {
      const std::vector<float> one(x.begin() + t * 128, x.begin() + (t + 1) * 128);
      CHECK(same_bits(multiply(*family, matrix, format, one, 1, ActivationKind::kInt8, 1), std::vector<float>(all.begin() + t * 24, all.begin() + (t + 1) * 24)));
    }
  }
}

TEST_CASE("int8 rows with F32 activations are the decoded matrix", "[kernels][int8]") {
  for (const auto& [rows, columns] : {std::pair(21, 100), std::pair(16, 64), std::pair(7, 33), std::pair(70, 1130)})
    for (const std::int64_t tokens : {1, 5, 20}) {
      CAPTURE(rows, columns, tokens);
      const Matrix matrix(rows, columns, 9);
      std::vector<float> decoded(static_cast<std::size_t>(rows * columns)), wanted(static_cast<std::size_t>(rows * tokens));
      const BlockFormat& format = *row_int8_format(columns, 0, 6);
      const auto bytes = matrix.bytes();
      format.decode(bytes.data(), rows, decoded.data());
      CHECK(decoded[2] == -128 * matrix.scales[0]);
      const auto x = activations(tokens, columns, 13);
      for (const KernelFamily* family : available_kernels()) {
        ThreadPool pool(2);
        const WeightMatrix floats = *WeightMatrix::pack_floats(*family, decoded, rows, columns, pool);
        MatmulScratch scratch;
        matmul(floats, x.data(), tokens, columns, ActivationKind::kF32, wanted.data(), rows, pool, scratch);
        CHECK(same_bits(multiply(*family, matrix, format, x, tokens, ActivationKind::kF32, 2), wanted));
      }
    }
}

TEST_CASE("int8 rows: zeros, tiny numbers and NaN stay in their token", "[kernels][int8]") {
  const Matrix matrix(8, 64, 1);
  std::vector<float> x = activations(4, 64, 2);
  std::fill_n(x.begin(), 64, 0.0f);
  std::fill_n(x.begin() + 64, 64, 1e-42f);
  x[2 * 64 + 5] = std::numeric_limits<float>::quiet_NaN();
  for (const KernelFamily* family : available_kernels()) {
    const auto y = multiply(*family, matrix, *row_int8_format(64, 0, 6), x, 4, ActivationKind::kInt8, 1);
    for (int n = 0; n < 8; ++n) {
      CHECK(y[static_cast<std::size_t>(n)] == 0);
      CHECK(y[static_cast<std::size_t>(8 + n)] == 0);
      CHECK(std::isnan(y[static_cast<std::size_t>(16 + n)]));
      CHECK(std::isfinite(y[static_cast<std::size_t>(24 + n)]));
    }
  }
  Matrix bad(8, 64, 1);
  bad.scales[3] = std::numeric_limits<float>::infinity();
  ThreadPool pool(2);
  CHECK(WeightMatrix::pack(**find_kernels("scalar"), *row_int8_format(64, 0, 0), bad.bytes(), 8, 64, pool).error().detail.find("row 3") != std::string::npos);
}

}  // namespace
