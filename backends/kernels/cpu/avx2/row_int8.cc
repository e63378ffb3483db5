// Codes widened to 16 bits, VPMADDWD: exact. Two rows and four tokens at a time share their loads.
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/avx2/avx2.h"

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

}  // namespace quantfleet::avx2
