// Codes widened to 16 bits, VPMADDWD: exact. Two rows and four tokens at a time share their loads.
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/panels.h"

#include <immintrin.h>

namespace quantfleet::avx2 {
namespace {

inline __attribute__((always_inline)) __m256i widen(const std::int8_t* codes) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes))); }

inline __attribute__((always_inline)) std::int32_t total(__m256i sums) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

template <int kRows, int kTokens>
inline __attribute__((always_inline)) void tile(const RowInt8Task& task, std::int64_t row, std::int64_t token) {
  __m256i sums[kRows][kTokens];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sums[r][t] = _mm256_setzero_si256();
  const std::int8_t *w = task.weights + row * task.stride, *a = task.codes + token * task.stride;
  for (std::int64_t k = 0; k < task.stride; k += 16) {
    __m256i weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = widen(w + r * task.stride + k);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m256i codes = widen(a + t * task.stride + k);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][t] = _mm256_add_epi32(sums[r][t], _mm256_madd_epi16(weights[r], codes));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) finish_output(task, row + r, token + t, total(sums[r][t]));
}

template <int kRows>
inline __attribute__((always_inline)) void rows(const RowInt8Task& task, std::int64_t row) {
  std::int64_t token = task.token_begin;
  for (; token + 4 <= task.token_end; token += 4) tile<kRows, 4>(task, row, token);
  for (; token < task.token_end; ++token) tile<kRows, 1>(task, row, token);
}

}  // namespace

void matmul_row_int8(const RowInt8Task& task) {
  std::int64_t row = task.row_begin;
  for (; row + 2 <= task.row_end; row += 2) rows<2>(task, row);
  for (; row < task.row_end; ++row) rows<1>(task, row);
}

// 32 columns of eight rows at a time are turned: four codes of each row side by side, as panels have them.
void decode_row_int8(const RowInt8Tile& task) {
  for (int half = 0; 8 * half < task.rows; ++half) {
    const int rows = task.rows - 8 * half < 8 ? task.rows - 8 * half : 8;
    alignas(32) float scales[8] = {};
    for (int row = 0; row < rows; ++row) scales[row] = task.scales[8 * half + row];
    const __m256 scale = _mm256_load_ps(scales);
    for (std::int64_t k = 0; k < task.columns; k += 32) {
      __m256i a[8], b[8];
#pragma GCC unroll 8
      for (int row = 0; row < 8; ++row) a[row] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(task.weights + (8 * half + (row < rows ? row : 0)) * task.stride + k));
#pragma GCC unroll 4
      for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
      }
#pragma GCC unroll 2
      for (int i = 0; i < 8; i += 4) {  // a[i + j]: lane L has column group 4 L + j of rows i to i + 3
        a[i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm256_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm256_unpackhi_epi64(b[i + 1], b[i + 3]);
      }
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        b[j] = _mm256_permute2x128_si256(a[j], a[4 + j], 0x20);
        b[4 + j] = _mm256_permute2x128_si256(a[j], a[4 + j], 0x31);
      }
      float* target = task.tile + 16 * k + 8 * half;
      const std::int64_t left = task.columns - k;
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        const __m256i quad = _mm256_xor_si256(b[g], _mm256_set1_epi8(static_cast<char>(0x80))), upper = _mm256_srli_epi32(quad, 16);
        const __m256 numbers[4] = {number_at<0>(quad, 128), number_at<8>(quad, 128), number_at<0>(upper, 128), number_at<8>(upper, 128)};
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
          if (4 * g + i < left) _mm256_store_ps(target + 16 * (4 * g + i), _mm256_mul_ps(numbers[i], scale));
      }
    }
  }
}

}  // namespace quantfleet::avx2
