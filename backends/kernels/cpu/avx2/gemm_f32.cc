// F32 matrix product for AVX2 and FMA: tiles of 6 x 16 in 12 of the 16 registers. Definition and method: gemm_f32.h.
#include "backends/kernels/gemm_f32.h"

#include <immintrin.h>

namespace quantfleet {
namespace {

constexpr int kColumns = 16;             // of a panel
constexpr int kRows = 6;                 // of a tile
constexpr int kDepth = 256;              // k values for which a block of A is held
constexpr int kRowStride = kDepth + 16;  // floats; rows of a block fall into different cache sets
constexpr int kBlockRows = 12 * kRows;

// One tile: C[R, 16] over `depth` values of k. kRowMajor: a[i * kRowStride + k]; otherwise a[k * kRows + i].
template <int R, bool kRowMajor>
void tile(const float* __restrict a, const float* __restrict panel, long depth, float* __restrict c, long c_stride, bool load) {
  __m256 acc[R][2];
#pragma GCC unroll 6
  for (int i = 0; i < R; ++i) {
    acc[i][0] = load ? _mm256_loadu_ps(c + i * c_stride) : _mm256_setzero_ps();
    acc[i][1] = load ? _mm256_loadu_ps(c + i * c_stride + 8) : _mm256_setzero_ps();
  }
  for (long k = 0; k < depth; ++k) {
    const __m256 b0 = _mm256_load_ps(panel + k * kColumns);
    const __m256 b1 = _mm256_load_ps(panel + k * kColumns + 8);
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) {
      const __m256 value = _mm256_broadcast_ss(kRowMajor ? a + i * kRowStride + k : a + k * kRows + i);
      acc[i][0] = _mm256_fmadd_ps(value, b0, acc[i][0]);
      acc[i][1] = _mm256_fmadd_ps(value, b1, acc[i][1]);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < R; ++i) {
    _mm256_storeu_ps(c + i * c_stride, acc[i][0]);
    _mm256_storeu_ps(c + i * c_stride + 8, acc[i][1]);
  }
}

using Tile = void (*)(const float*, const float*, long, float*, long, bool);
constexpr Tile kTiles[2][kRows + 1] = {
    {nullptr, tile<1, false>, tile<2, false>, tile<3, false>, tile<4, false>, tile<5, false>, tile<6, false>},
    {nullptr, tile<1, true>, tile<2, true>, tile<3, true>, tile<4, true>, tile<5, true>, tile<6, true>}};

void multiply(const float* a, std::int64_t row_stride, std::int64_t column_stride, const float* panels,
              std::int64_t panel_stride, std::int64_t m, std::int64_t n, std::int64_t k, float* c, std::int64_t c_stride,
              bool accumulate, float* scratch) {
  const bool row_major = column_stride == 1;
  for (std::int64_t m0 = 0; m0 < m; m0 += kBlockRows) {
    const std::int64_t rows = m - m0 < kBlockRows ? m - m0 : kBlockRows;
    for (std::int64_t k0 = 0; k0 == 0 || k0 < k; k0 += kDepth) {
      const std::int64_t depth = k - k0 < kDepth ? k - k0 : kDepth;
      if (row_major) {
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < depth; ++j) scratch[i * kRowStride + j] = a[(m0 + i) * row_stride + k0 + j];
      } else {
        for (std::int64_t t = 0; t < rows; t += kRows) {
          const std::int64_t r = rows - t < kRows ? rows - t : kRows;
          for (std::int64_t j = 0; j < depth; ++j)
            for (std::int64_t i = 0; i < r; ++i)
              scratch[t * kDepth + j * kRows + i] = a[(m0 + t + i) + (k0 + j) * column_stride];
        }
      }
      const bool load = accumulate || k0 > 0;
      for (std::int64_t n0 = 0; n0 < n; n0 += kColumns) {
        const float* panel = panels + n0 / kColumns * panel_stride + k0 * kColumns;
        const std::int64_t columns = n - n0 < kColumns ? n - n0 : kColumns;
        for (std::int64_t t = 0; t < rows; t += kRows) {
          const std::int64_t r = rows - t < kRows ? rows - t : kRows;
          const float* block = scratch + t * (row_major ? kRowStride : kDepth);
          float* target = c + (m0 + t) * c_stride + n0;
          if (columns == kColumns) {
            kTiles[row_major][r](block, panel, depth, target, c_stride, load);
            continue;
          }
          float edge[kRows * kColumns] = {};  // a tile that hangs over the right edge goes through a copy
          if (load)
            for (std::int64_t i = 0; i < r; ++i)
              for (std::int64_t j = 0; j < columns; ++j) edge[i * kColumns + j] = target[i * c_stride + j];
          kTiles[row_major][r](block, panel, depth, edge, kColumns, load);
          for (std::int64_t i = 0; i < r; ++i)
            for (std::int64_t j = 0; j < columns; ++j) target[i * c_stride + j] = edge[i * kColumns + j];
        }
      }
    }
  }
}

void pack(const float* b, std::int64_t row_stride, std::int64_t column_stride, std::int64_t k, std::int64_t n,
          float* panels, std::int64_t panel_stride) {
  for (std::int64_t n0 = 0; n0 < n; n0 += kColumns, panels += panel_stride) {
    const std::int64_t columns = n - n0 < kColumns ? n - n0 : kColumns;
    for (std::int64_t j = 0; j < k; ++j) {
      const float* source = b + j * row_stride + n0 * column_stride;
      if (column_stride == 1 && columns == kColumns) {
        _mm256_store_ps(panels + j * kColumns, _mm256_loadu_ps(source));
        _mm256_store_ps(panels + j * kColumns + 8, _mm256_loadu_ps(source + 8));
      } else {
        for (std::int64_t i = 0; i < kColumns; ++i)
          panels[j * kColumns + i] = i < columns ? source[i * column_stride] : 0.0f;
      }
    }
  }
}

}  // namespace

extern const GemmF32Kernel kGemmF32Avx2;
const GemmF32Kernel kGemmF32Avx2 = {"avx2", kColumns, kRows, kBlockRows * kRowStride, pack, multiply};

}  // namespace quantfleet
