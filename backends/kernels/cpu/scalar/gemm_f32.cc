// F32 matrix product, the definition: one chain of fused multiply-adds per output, k ascending. See gemm_f32.h.
#include "backends/kernels/gemm_f32.h"

#include <cmath>

namespace quantfleet {
namespace {

constexpr int kColumns = 4;  // of a panel

void multiply(const float* a, std::int64_t row_stride, std::int64_t column_stride, const float* panels,
              std::int64_t panel_stride, std::int64_t m, std::int64_t n, std::int64_t k, float* c, std::int64_t c_stride,
              bool accumulate, float*) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const float* column = panels + j / kColumns * panel_stride + j % kColumns;
      float chain = accumulate ? c[i * c_stride + j] : 0.0f;
      for (std::int64_t t = 0; t < k; ++t)
        chain = std::fma(a[i * row_stride + t * column_stride], column[t * kColumns], chain);
      c[i * c_stride + j] = chain;
    }
  }
}

void pack(const float* b, std::int64_t row_stride, std::int64_t column_stride, std::int64_t k, std::int64_t n,
          float* panels, std::int64_t panel_stride) {
  for (std::int64_t n0 = 0; n0 < n; n0 += kColumns, panels += panel_stride)
    for (std::int64_t t = 0; t < k; ++t)
      for (std::int64_t j = 0; j < kColumns; ++j)
        panels[t * kColumns + j] = n0 + j < n ? b[t * row_stride + (n0 + j) * column_stride] : 0.0f;
}

}  // namespace

extern const GemmF32Kernel kGemmF32Scalar;
const GemmF32Kernel kGemmF32Scalar = {"scalar", kColumns, 1, 0, pack, multiply};

}  // namespace quantfleet
