// The F32 matrix product: every implementation gives the bits of one fma chain per output.
#include "backends/kernels/gemm_f32.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <vector>

using namespace quantfleet;

namespace {

std::vector<float> numbers(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    v = static_cast<float>(static_cast<std::int32_t>(seed >> 33)) * 0x1p-29f;
  }
  return values;
}

struct Shape {
  std::int64_t m, n, k;
};

}  // namespace

TEST_CASE("the F32 product is one fma chain per output on every instruction set and thread count", "[gemm_f32]") {
  const Shape shape = GENERATE(Shape{1, 1, 1}, Shape{14, 32, 16}, Shape{15, 33, 17}, Shape{7, 100, 300}, Shape{97, 31, 257},
                               Shape{200, 47, 16}, Shape{85, 64, 513}, Shape{3, 5, 0});
  const bool accumulate = GENERATE(false, true);
  const bool a_transposed = GENERATE(false, true);
  const bool b_transposed = GENERATE(false, true);
  const int threads = GENERATE(1, 3);
  const auto [m, n, k] = shape;
  CAPTURE(m, n, k, accumulate, a_transposed, b_transposed, threads);

  const std::int64_t gap = 3;  // rows longer than their content: unaligned, and the gap must stay untouched
  const auto a_values = numbers((m + gap) * (k + gap), 1), b_values = numbers((n + gap) * (k + gap), 2);
  const MatrixF32 a = a_transposed ? MatrixF32{a_values.data(), 1, m + gap} : MatrixF32{a_values.data(), k + gap, 1};
  const MatrixF32 b = b_transposed ? MatrixF32{b_values.data(), 1, k + gap} : MatrixF32{b_values.data(), n + gap, 1};
  const auto start = numbers(m * (n + gap), 3);
  auto expected = start;
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      float chain = accumulate ? start[static_cast<std::size_t>(i * (n + gap) + j)] : 0.0f;
      for (std::int64_t t = 0; t < k; ++t)
        chain = std::fma(a.data[i * a.row_stride + t * a.column_stride], b.data[t * b.row_stride + j * b.column_stride], chain);
      expected[static_cast<std::size_t>(i * (n + gap) + j)] = chain;
    }

  ThreadPool pool(threads);
  for (const GemmF32Kernel* kernel : all_gemm_f32_kernels()) {
    if (find_gemm_f32_kernel(kernel->name) == nullptr) continue;
    CAPTURE(kernel->name);
    auto c = start;
    GemmF32(pool, *kernel).run(a, b, m, n, k, c.data(), n + gap, accumulate);
    CHECK(std::memcmp(c.data(), expected.data(), c.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("a product over tokens may be cut: the second call continues the chain of the first", "[gemm_f32]") {
  const std::int64_t m = 20, n = 40, k = 100, cut = 37;
  const auto a = numbers(m * k, 4), b = numbers(n * k, 5);
  ThreadPool pool(2);
  const GemmF32Kernel* kernel = find_gemm_f32_kernel("auto");
  REQUIRE(kernel != nullptr);
  GemmF32 gemm(pool, *kernel);
  std::vector<float> whole(static_cast<std::size_t>(m * n)), parts(whole);
  gemm.run({a.data(), 1, m}, {b.data(), n, 1}, m, n, k, whole.data(), n, true);
  gemm.run({a.data(), 1, m}, {b.data(), n, 1}, m, n, cut, parts.data(), n, true);
  gemm.run({a.data() + cut * m, 1, m}, {b.data() + cut * n, n, 1}, m, n, k - cut, parts.data(), n, true);
  CHECK(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)) == 0);
}

TEST_CASE("an unknown implementation of the F32 product is not found", "[gemm_f32]") {
  CHECK(find_gemm_f32_kernel("avx3") == nullptr);
  CHECK(find_gemm_f32_kernel("scalar") != nullptr);
}
