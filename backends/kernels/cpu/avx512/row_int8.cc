// VPDPBUSD wants one unsigned factor: activation codes plus 128; the sum of the row's codes takes it off again (integers modulo
// 2^32, so exact). Four rows and four tokens at a time share their loads.
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/panels.h"

#include <immintrin.h>

namespace quantfleet::avx512 {
namespace {

template <int kRows, int kTokens>
inline __attribute__((always_inline)) void tile(const RowInt8Task& task, std::int64_t row, std::int64_t token) {
  __m512i sums[kRows][kTokens];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sums[r][t] = _mm512_setzero_si512();
  const std::int8_t *w = task.weights + row * task.stride, *a = task.codes + token * task.stride;
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
  for (std::int64_t k = 0; k < task.stride; k += 64) {
    __m512i weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = _mm512_loadu_si512(w + r * task.stride + k);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512i codes = _mm512_xor_si512(_mm512_loadu_si512(a + t * task.stride + k), offset);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][t] = _mm512_dpbusd_epi32(sums[r][t], codes, weights[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const auto sum = static_cast<std::uint32_t>(_mm512_reduce_add_epi32(sums[r][t])) - 128u * static_cast<std::uint32_t>(task.weight_sums[row + r]);
      finish_output(task, row + r, token + t, static_cast<std::int32_t>(sum));
    }
}

// One token: rows one after the other, as memory has them, in four sums each. The processor's prefetchers follow.
inline __attribute__((always_inline)) void one_token(const RowInt8Task& task) {
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
  const std::int8_t* a = task.codes + task.token_begin * task.stride;
  for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
    const std::int8_t* w = task.weights + row * task.stride;
    __m512i sums[4];
    for (auto& sum : sums) sum = _mm512_setzero_si512();
    const auto add = [&](int i, std::int64_t k) __attribute__((always_inline)) {
      sums[i] = _mm512_dpbusd_epi32(sums[i], _mm512_xor_si512(_mm512_loadu_si512(a + k), offset), load_bytes(reinterpret_cast<const unsigned char*>(w + k)));
    };
    std::int64_t k = 0;
    for (; k + 256 <= task.stride; k += 256)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) add(i, k + 64 * i);
    for (; k < task.stride; k += 64) add(0, k);
    const __m512i all = _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3]));
    const auto sum = static_cast<std::uint32_t>(_mm512_reduce_add_epi32(all)) - 128u * static_cast<std::uint32_t>(task.weight_sums[row]);
    finish_output(task, row, task.token_begin, static_cast<std::int32_t>(sum));
  }
}

template <int kRows>
inline __attribute__((always_inline)) void rows(const RowInt8Task& task, std::int64_t row) {
  std::int64_t token = task.token_begin;
  for (; token + 4 <= task.token_end; token += 4) tile<kRows, 4>(task, row, token);
  for (; token < task.token_end; ++token) tile<kRows, 1>(task, row, token);
}

}  // namespace

void matmul_row_int8(const RowInt8Task& task) {
  if (task.token_end - task.token_begin == 1) return one_token(task);
  std::int64_t row = task.row_begin;
  for (; row + 4 <= task.row_end; row += 4) rows<4>(task, row);
  for (; row < task.row_end; ++row) rows<1>(task, row);
}

// 64 columns at a time are turned: four codes of each row side by side, as panels have them.
void decode_row_int8(const RowInt8Tile& task) {
  const __m512 scale = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << task.rows) - 1), task.scales);
  for (std::int64_t k = 0; k < task.columns; k += 64) {
    __m512i a[16], b[16];
#pragma GCC unroll 16
    for (int row = 0; row < 16; ++row) a[row] = _mm512_loadu_si512(task.weights + (row < task.rows ? row : 0) * task.stride + k);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
      b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {  // a[i + j]: lane L has column group 4 L + j of rows i to i + 3
      a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
      a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
      a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
      a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i low0 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88), high0 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
      const __m512i low1 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88), high1 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
      b[j] = _mm512_shuffle_i32x4(low0, low1, 0x88);
      b[8 + j] = _mm512_shuffle_i32x4(low0, low1, 0xdd);
      b[4 + j] = _mm512_shuffle_i32x4(high0, high1, 0x88);
      b[12 + j] = _mm512_shuffle_i32x4(high0, high1, 0xdd);
    }
    float* target = task.tile + 16 * k;
    const std::int64_t left = task.columns - k;
#pragma GCC unroll 16
    for (int g = 0; g < 16; ++g) {
      const __m512i quad = _mm512_xor_si512(b[g], _mm512_set1_epi8(static_cast<char>(0x80))), upper = _mm512_srli_epi32(quad, 16);
      const __m512 numbers[4] = {number_at<0>(quad, 128), number_at<8>(quad, 128), number_at<0>(upper, 128), number_at<8>(upper, 128)};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        if (4 * g + i < left) _mm512_store_ps(target + 16 * (4 * g + i), _mm512_mul_ps(numbers[i], scale));
    }
  }
}

}  // namespace quantfleet::avx512
