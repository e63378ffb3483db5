// Matrix product in F32, for training: C[m,n] = A[m,k] * B[k,n], or C += A * B.
//
// Every output is one chain of fused multiply-adds over k ascending (numerics.md rule 2):
//   c = accumulate ? C[i][j] : +0;   for k = 0 .. K-1: c = fma(A[i][k], B[k][j], c);   C[i][j] = c
// Vector lanes are outputs, K is never split, so the bits do not depend on tile, thread count or instruction set, and a
// product over tokens may be cut into calls that continue each other with accumulate = true.
// A and B are given with two strides, of which one must be 1; so the three products of a linear layer need no transposing:
//   Y = X * W^T   dX = dY * W   dW += dY^T * X
// Method: B is packed into panels as wide as the tile, A into tiles; registers hold one tile of C (Goto & van de Geijn 2008).
#pragma once

#include "backends/kernels/aligned_floats.h"
#include "backends/kernels/thread_pool.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace quantfleet {

// Element (r, c) is data[r * row_stride + c * column_stride]; one of the strides is 1.
struct MatrixF32 {
  const float* data;
  std::int64_t row_stride;
  std::int64_t column_stride;

  MatrixF32 transposed() const { return {data, column_stride, row_stride}; }
};

// One instruction set's implementation.
struct GemmF32Kernel {
  const char* name;
  int panel_columns;    // width of a panel of B
  int tile_rows;        // rows of C that registers hold
  int scratch_floats;   // that `multiply` needs, 64-byte aligned
  // B[k, n] -> ceil(n / panel_columns) panels of [k][panel_columns], each `panel_stride` floats after the one before; columns
  // past n are zero.
  void (*pack)(const float* b, std::int64_t row_stride, std::int64_t column_stride, std::int64_t k, std::int64_t n,
               float* panels, std::int64_t panel_stride);
  // C[m, n] (row-major, c_stride) = or += A[m, k] * panels. Uses the first k rows of each panel.
  void (*multiply)(const float* a, std::int64_t row_stride, std::int64_t column_stride, const float* panels,
                   std::int64_t panel_stride, std::int64_t m, std::int64_t n, std::int64_t k, float* c,
                   std::int64_t c_stride, bool accumulate, float* scratch);
};

// Implementations compiled in, best first, `scalar` last; which of them this CPU can run is cpu_features.h's to say.
std::span<const GemmF32Kernel* const> all_gemm_f32_kernels();
const GemmF32Kernel* find_gemm_f32_kernel(std::string_view name);  // nullptr when unknown or not for this CPU; "auto": best

// A product that shares its work over a thread pool. Holds the packed B; one product at a time.
class GemmF32 {
 public:
  GemmF32(ThreadPool& pool, const GemmF32Kernel& kernel);

  void run(MatrixF32 a, MatrixF32 b, std::int64_t m, std::int64_t n, std::int64_t k, float* c, std::int64_t c_stride,
           bool accumulate);

  const GemmF32Kernel& kernel() const { return kernel_; }
  float* scratch(int thread) { return scratch_[static_cast<std::size_t>(thread)].data(); }

 private:
  ThreadPool& pool_;
  const GemmF32Kernel& kernel_;
  AlignedFloats panels_;
  std::vector<AlignedFloats> scratch_;
};

// Floats that `pack` fills when panels follow each other without a gap.
inline std::int64_t panels_floats(const GemmF32Kernel& kernel, std::int64_t k, std::int64_t n) {
  return (n + kernel.panel_columns - 1) / kernel.panel_columns * kernel.panel_columns * k;
}

}  // namespace quantfleet
