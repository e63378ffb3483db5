// F32 matrix product for AVX-512: tiles of 14 x 32 in 28 of the 32 registers. Definition and method: gemm_f32.h.
// A is copied into small blocks, either with k or with the row running fastest, whichever A has contiguous; the kernel
// broadcasts one value of A at a time, so both read equally well.
#include "backends/kernels/gemm_f32.h"

// GCC 12 warns about its own header: _mm512_undefined_ps is meant to be undefined.
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

namespace quantfleet {
namespace {

constexpr int kColumns = 32;            // of a panel
constexpr int kRows = 14;               // of a tile
constexpr int kDepth = 256;             // k values for which a block of A is held
constexpr int kRowStride = kDepth + 16; // floats; rows of a block fall into different cache sets
constexpr int kBlockRows = 6 * kRows;

// One tile: C[R, n <= 32] over `depth` values of k. kRowMajor: a[i * kRowStride + k]; otherwise a[k * kRows + i].
template <int R, bool kRowMajor>
void tile(const float* __restrict a, const float* __restrict panel, long depth, float* __restrict c, long c_stride,
          __mmask16 mask0, __mmask16 mask1, bool load) {
  __m512 acc[R][2];
#pragma GCC unroll 14
  for (int i = 0; i < R; ++i) {
    if (load) {
      acc[i][0] = _mm512_maskz_loadu_ps(mask0, c + i * c_stride);
      acc[i][1] = _mm512_maskz_loadu_ps(mask1, c + i * c_stride + 16);
    } else {
      acc[i][0] = _mm512_setzero_ps();
      acc[i][1] = _mm512_setzero_ps();
    }
  }
  for (long k = 0; k < depth; ++k) {
    const __m512 b0 = _mm512_load_ps(panel + k * kColumns);
    const __m512 b1 = _mm512_load_ps(panel + k * kColumns + 16);
#pragma GCC unroll 14
    for (int i = 0; i < R; ++i) {
      const __m512 value = _mm512_set1_ps(kRowMajor ? a[i * kRowStride + k] : a[k * kRows + i]);
      acc[i][0] = _mm512_fmadd_ps(value, b0, acc[i][0]);
      acc[i][1] = _mm512_fmadd_ps(value, b1, acc[i][1]);
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < R; ++i) {
    _mm512_mask_storeu_ps(c + i * c_stride, mask0, acc[i][0]);
    _mm512_mask_storeu_ps(c + i * c_stride + 16, mask1, acc[i][1]);
  }
}

using Tile = void (*)(const float*, const float*, long, float*, long, __mmask16, __mmask16, bool);
constexpr Tile kTiles[2][kRows + 1] = {
    {nullptr, tile<1, false>, tile<2, false>, tile<3, false>, tile<4, false>, tile<5, false>, tile<6, false>,
     tile<7, false>, tile<8, false>, tile<9, false>, tile<10, false>, tile<11, false>, tile<12, false>, tile<13, false>,
     tile<14, false>},
    {nullptr, tile<1, true>, tile<2, true>, tile<3, true>, tile<4, true>, tile<5, true>, tile<6, true>, tile<7, true>,
     tile<8, true>, tile<9, true>, tile<10, true>, tile<11, true>, tile<12, true>, tile<13, true>, tile<14, true>}};

__mmask16 mask_of(long columns) {
  return columns >= 16 ? __mmask16(0xffff) : columns <= 0 ? __mmask16(0) : __mmask16((1u << columns) - 1);
}

void multiply(const float* a, std::int64_t row_stride, std::int64_t column_stride, const float* panels,
              std::int64_t panel_stride, std::int64_t m, std::int64_t n, std::int64_t k, float* c, std::int64_t c_stride,
              bool accumulate, float* scratch) {
  const bool row_major = column_stride == 1;
  for (std::int64_t m0 = 0; m0 < m; m0 += kBlockRows) {
    const std::int64_t rows = m - m0 < kBlockRows ? m - m0 : kBlockRows;
    for (std::int64_t k0 = 0; k0 == 0 || k0 < k; k0 += kDepth) {
      const std::int64_t depth = k - k0 < kDepth ? k - k0 : kDepth;
      if (row_major) {
        for (std::int64_t i = 0; i < rows; ++i) {
          const float* source = a + (m0 + i) * row_stride + k0;
          float* target = scratch + i * kRowStride;
          std::int64_t j = 0;
          for (; j + 16 <= depth; j += 16) _mm512_store_ps(target + j, _mm512_loadu_ps(source + j));
          if (j < depth) _mm512_store_ps(target + j, _mm512_maskz_loadu_ps(mask_of(depth - j), source + j));
        }
      } else {
        for (std::int64_t t = 0; t < rows; t += kRows) {
          const __mmask16 mask = mask_of(rows - t < kRows ? rows - t : kRows);
          const float* source = a + (m0 + t) + k0 * column_stride;
          float* target = scratch + t * kDepth;
          for (std::int64_t j = 0; j < depth; ++j)  // the two lanes past 14 are overwritten by the next store
            _mm512_storeu_ps(target + j * kRows, _mm512_maskz_loadu_ps(mask, source + j * column_stride));
        }
      }
      for (std::int64_t n0 = 0; n0 < n; n0 += kColumns) {
        const float* panel = panels + n0 / kColumns * panel_stride + k0 * kColumns;
        const __mmask16 mask0 = mask_of(n - n0), mask1 = mask_of(n - n0 - 16);
        for (std::int64_t t = 0; t < rows; t += kRows) {
          const std::int64_t r = rows - t < kRows ? rows - t : kRows;
          kTiles[row_major][r](scratch + t * (row_major ? kRowStride : kDepth), panel, depth,
                               c + (m0 + t) * c_stride + n0, c_stride, mask0, mask1, accumulate || k0 > 0);
        }
      }
    }
  }
}

// 16 columns of B, each contiguous in k, become 16 rows of a panel: a transposition of 16 x 16.
void transpose16(const float* const* columns, std::int64_t k, float* panel) {
  __m512 r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(columns[i] + k);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i + 0] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[4 * i]), _mm512_castps_pd(t[4 * i + 2])));
    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[4 * i]), _mm512_castps_pd(t[4 * i + 2])));
    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[4 * i + 1]), _mm512_castps_pd(t[4 * i + 3])));
    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[4 * i + 1]), _mm512_castps_pd(t[4 * i + 3])));
  }
  // r[4g + j] holds, in its quarter q, element k + 4q + j of columns 4g .. 4g+3.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 low01 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x44), low23 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x44);
    const __m512 high01 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xee), high23 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xee);
    _mm512_store_ps(panel + (0 + j) * kColumns, _mm512_shuffle_f32x4(low01, low23, 0x88));
    _mm512_store_ps(panel + (4 + j) * kColumns, _mm512_shuffle_f32x4(low01, low23, 0xdd));
    _mm512_store_ps(panel + (8 + j) * kColumns, _mm512_shuffle_f32x4(high01, high23, 0x88));
    _mm512_store_ps(panel + (12 + j) * kColumns, _mm512_shuffle_f32x4(high01, high23, 0xdd));
  }
}

void pack(const float* b, std::int64_t row_stride, std::int64_t column_stride, std::int64_t k, std::int64_t n,
          float* panels, std::int64_t panel_stride) {
  for (std::int64_t n0 = 0; n0 < n; n0 += kColumns, panels += panel_stride) {
    if (column_stride == 1) {
      const __mmask16 mask0 = mask_of(n - n0), mask1 = mask_of(n - n0 - 16);
      for (std::int64_t j = 0; j < k; ++j) {
        const float* source = b + j * row_stride + n0;
        _mm512_store_ps(panels + j * kColumns, _mm512_maskz_loadu_ps(mask0, source));
        _mm512_store_ps(panels + j * kColumns + 16, _mm512_maskz_loadu_ps(mask1, source + 16));
      }
      continue;
    }
    for (int half = 0; half < kColumns; half += 16) {
      const std::int64_t columns = n - n0 - half;
      std::int64_t j = 0;
      if (columns >= 16) {
        const float* sources[16];
        for (int i = 0; i < 16; ++i) sources[i] = b + (n0 + half + i) * column_stride;
        for (; j + 16 <= k; j += 16) transpose16(sources, j, panels + j * kColumns + half);
      }
      for (; j < k; ++j)
        for (int i = 0; i < 16; ++i)
          panels[j * kColumns + half + i] = i < columns ? b[(n0 + half + i) * column_stride + j] : 0.0f;
    }
  }
}

}  // namespace

extern const GemmF32Kernel kGemmF32Avx512;
const GemmF32Kernel kGemmF32Avx512 = {"avx512", kColumns, kRows, kBlockRows * kRowStride + 16, pack, multiply};

}  // namespace quantfleet
