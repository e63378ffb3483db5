// Codes of 1 to 8 bits in panels of sixteen rows (cpu/grouped_task.h), eight columns of eight rows at a time, to numbers: a lane is a
// row; `half` says which eight.
#pragma once

#include "backends/kernels/cpu/grouped_formats.h"

#include <immintrin.h>

namespace quantfleet::avx2 {

using grouped_formats::Zeros;
using grouped_formats::for_codes;
using grouped_formats::kDivided;
using grouped_formats::kPeriod;
using grouped_formats::kWindows;

namespace {

QF_INLINE __m256i bytes8(const unsigned char* p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }

// What turns codes of column i of a chunk into numbers: of integers what to take off, of a table the numbers of codes.
template <int kBits, int kNumbers>
struct CodeTable {
  __m256 of[8];

  QF_INLINE_MEMBER CodeTable(const float* number, int offset) {
    if constexpr (kNumbers == 0)
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) of[i] = _mm256_set1_ps(static_cast<float>(1 << (23 - kBits * i % 16)) + static_cast<float>(offset));
    if constexpr (kNumbers == 1)
      for (int i = 0; i < 2; ++i) of[i] = kBits == 4 ? _mm256_loadu_ps(number + 8 * i) : _mm256_set1_ps(number[i]);
  }
};

// The strings of eight columns' codes, through windows.
template <int kBits, int kNumbers>
struct Codes {
  __m256i window[kWindows<kBits>];

  QF_INLINE_MEMBER void read(const unsigned char* p, int half) {
    const unsigned char* fours = p + 32 * half;
    if constexpr (kBits == 8) {
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        window[2 * j] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(fours + 64 * j));
        window[2 * j + 1] = _mm256_srli_epi32(window[2 * j], 16);
      }
      return;
    }
    const unsigned char *words = p + (kBits & 4 ? 64 : 0) + 16 * half, *bytes = p + (kBits & 6) * 16 + 8 * half;
    __m256i rest = _mm256_setzero_si256();  // behind the first 32 bits
    if constexpr ((kBits & 2) != 0) rest = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
    if constexpr ((kBits & 3) == 3) rest = _mm256_or_si256(rest, _mm256_slli_epi32(bytes8(bytes), 16));
    if constexpr ((kBits & 3) == 1) rest = bytes8(bytes);
    constexpr int kFirst = kBits & 4 ? 2 : 0;
    if constexpr (kFirst != 0) {
      window[0] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(fours));
      window[1] = _mm256_srli_epi32(window[0], 16);
      if constexpr ((kBits & 3) != 0) window[1] = _mm256_or_si256(window[1], _mm256_slli_epi32(rest, 16));
    }
    if constexpr (kWindows<kBits> > kFirst) window[kFirst] = rest;
    if constexpr (kWindows<kBits> > kFirst + 1) window[kFirst + 1] = _mm256_srli_epi32(rest, 16);
  }

  // Column i's code where it stands, under the exponent that makes its bits units: 2^(23 - place) + code.
  QF_INLINE_MEMBER __m256 raised(int i) const {
    const int place = kBits * i % 16;
    const __m256i code = _mm256_and_si256(window[kBits * i / 16], _mm256_set1_epi32(((1 << kBits) - 1) << place));
    return _mm256_castsi256_ps(_mm256_or_si256(code, _mm256_set1_epi32((150 - place) << 23)));
  }

  QF_INLINE_MEMBER __m256 value(int i, const CodeTable<kBits, kNumbers>& table) const {
    if constexpr (kNumbers == 0) return _mm256_sub_ps(raised(i), table.of[i]);
    const int place = kBits * i % 16;
    const __m256i bits = window[kBits * i / 16], low = place ? _mm256_srli_epi32(bits, place) : bits;
    const __m256 highest = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 32 - kBits - place));  // chooses between the halves of the table
    if constexpr (kBits == 1) return _mm256_blendv_ps(table.of[0], table.of[1], highest);
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.of[0], low), _mm256_permutevar8x32_ps(table.of[1], low), highest);
  }
};

// FP8: by the bits of an F32; numbers come out divided by kDivided.
template <int kNumbers>
  requires(kNumbers >= 2)
struct Codes<8, kNumbers> {
  __m256i pair[2][2];  // the upper halves of numbers: columns 4 j and 4 j + 2; those behind them

  QF_INLINE_MEMBER static __m256i upper_halves(__m256i codes) {
    if constexpr (kNumbers == 2) return _mm256_and_si256(_mm256_srai_epi16(codes, 4), _mm256_set1_epi16(static_cast<short>(0x87f0)));
    return _mm256_and_si256(_mm256_srai_epi16(codes, 3), _mm256_set1_epi16(static_cast<short>(0x8fe0)));
  }
  QF_INLINE_MEMBER void read(const unsigned char* p, int half) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 64 * j + 32 * half));
      pair[j][0] = upper_halves(_mm256_slli_epi16(codes, 8));
      pair[j][1] = upper_halves(codes);
    }
  }
  QF_INLINE_MEMBER __m256 value(int i, const CodeTable<8, kNumbers>&) const {
    const __m256i halves = pair[i / 4][i % 2];
    return _mm256_castsi256_ps(i % 4 < 2 ? _mm256_slli_epi32(halves, 16) : _mm256_and_si256(halves, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
  }
};

// A group's scales or zero points.
QF_INLINE __m256 row_numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int half) {
  if (task.kept == 0) return _mm256_loadu_ps(reinterpret_cast<const float*>(numbers + 64 * group + 32 * half));
  if (task.kept == 1) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers + 32 * group + 16 * half)));
  const __m256i codes = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(numbers + 16 * group + 8 * half)));
  const __m256i bits = _mm256_and_si256(_mm256_slli_epi32(codes, 20), _mm256_set1_epi32(static_cast<int>(0x87f00000)));
  return _mm256_div_ps(_mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(kDivided<2>)), _mm256_set1_ps(task.divisor));
}

// The scales, and with kZeros behind them the zero points, of all groups of a panel as floats.  floats [groups][16], twice
template <bool kZeros>
QF_INLINE void widen_numbers(const GroupedTask& task, int panel, float* floats) {
  for (std::int64_t g = 0; g < task.groups; ++g)
    for (int half = 0; half < 2; ++half) {
      float* target = floats + 16 * g + 8 * half;
      _mm256_store_ps(target, row_numbers(task, task.scales + panel * task.panel_bytes, g, half));
      if constexpr (kZeros) _mm256_store_ps(target + 16 * task.groups, row_numbers(task, task.zeros + panel * task.panel_bytes, g, half));
    }
}

QF_INLINE void store_rows(const GroupedTask& task, std::int64_t row, __m256 sums) {
  const std::int64_t rows = task.rows - row;
  if (rows >= 8) return _mm256_storeu_ps(task.y + row, sums);
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, sums);
  for (std::int64_t r = 0; r < rows; ++r) task.y[row + r] = lanes[r];
}

}  // namespace
}  // namespace quantfleet::avx2
