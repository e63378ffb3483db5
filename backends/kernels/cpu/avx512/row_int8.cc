// VPDPBUSD wants one unsigned factor: activation codes plus 128; the sum of the row's codes takes it off again (integers modulo
// 2^32, so exact). Four rows and four tokens at a time share their loads.
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/avx512/avx512.h"

#include <immintrin.h>

namespace quantfleet::avx512 {
namespace {

constexpr std::int64_t kAhead = 6 << 10;  // bytes that are fetched before they are wanted

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

// One token: rows one after the other, as memory has them, in four sums each.
inline __attribute__((always_inline)) void one_token(const RowInt8Task& task) {
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
  const std::int8_t* a = task.codes + task.token_begin * task.stride;
  for (std::int64_t row = task.row_begin; row < task.row_end; ++row) {
    const std::int8_t* w = task.weights + row * task.stride;
    __m512i sums[4];
    for (auto& sum : sums) sum = _mm512_setzero_si512();
    const auto add = [&](int i, std::int64_t k) __attribute__((always_inline)) {
      _mm_prefetch(reinterpret_cast<const char*>(w + k + kAhead), _MM_HINT_T1);
      sums[i] = _mm512_dpbusd_epi32(sums[i], _mm512_xor_si512(_mm512_loadu_si512(a + k), offset), _mm512_loadu_si512(w + k));
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

}  // namespace quantfleet::avx512
