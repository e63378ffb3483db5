// Codes of 1 to 8 bits in panels of sixteen rows (cpu/grouped_task.h), eight columns of eight rows at a time, to numbers: a lane is a
// row; `half` says which eight.
#pragma once

#include "backends/kernels/cpu/grouped_formats.h"

#include <immintrin.h>

namespace quantfleet::avx2 {

using grouped_formats::kDivided;
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

// Halves of panels as the loops of cpu/grouped_decode.h and cpu/grouped_product.h see them.
struct GroupedLanes {
  using Vector = __m256;
  static constexpr int kRows = 8, kParts = 2, kPanelsAtOnce = 2;
  static constexpr bool kVectorByVector = false;
  template <int kBits, int kNumbers>
  using CodesOf = Codes<kBits, kNumbers>;
  template <int kBits, int kNumbers>
  using TableOf = CodeTable<kBits, kNumbers>;

  // A column of codes of different widths.
  struct MixedCodes {
    __m128i shift;
    __m256i mask;
    __m256 middle;
    std::int64_t at;  // bytes into the codes

    QF_INLINE_MEMBER explicit MixedCodes(const MixedColumn& column)
        : shift(_mm_cvtsi32_si128(static_cast<int>(column.shift))), mask(_mm256_set1_epi32(static_cast<int>(column.mask))), middle(_mm256_set1_ps(column.middle)),
          at(64 * static_cast<std::int64_t>(column.word)) {}
    QF_INLINE_MEMBER __m256 value(const unsigned char* codes, int half) const {
      const __m256i word = _mm256_srl_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + at + 32 * half)), shift);
      return _mm256_sub_ps(_mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(word, mask), _mm256_set1_epi32(0x4b000000))), middle);
    }
  };

  template <class AnyCodes>
  QF_INLINE_MEMBER static void read(AnyCodes& codes, const unsigned char* place, int half) { codes.read(place, half); }
  template <class AnyCodes>
  QF_INLINE_MEMBER static void read_stream(AnyCodes& codes, const unsigned char* place, int half) { codes.read(place, half); }
  QF_INLINE_MEMBER static Vector numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int half) { return row_numbers(task, numbers, group, half); }
  QF_INLINE_MEMBER static Vector all(float value) { return _mm256_set1_ps(value); }
  QF_INLINE_MEMBER static Vector load(const float* p) { return _mm256_load_ps(p); }
  QF_INLINE_MEMBER static void store(float* p, Vector a) { _mm256_store_ps(p, a); }
  QF_INLINE_MEMBER static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  QF_INLINE_MEMBER static Vector sub(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
  QF_INLINE_MEMBER static Vector mul(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  QF_INLINE_MEMBER static Vector fma(Vector a, float x, Vector c) { return _mm256_fmadd_ps(a, all(x), c); }
  QF_INLINE_MEMBER static Vector magnitude(Vector a) { return _mm256_andnot_ps(all(-0.0f), a); }
  // Integers that stay exact when 2^23 is added.
  QF_INLINE_MEMBER static bool whole(Vector a) {
    const Vector integer = _mm256_cmp_ps(_mm256_round_ps(a, 8), a, _CMP_EQ_OQ);
    return _mm256_movemask_ps(_mm256_and_ps(integer, _mm256_cmp_ps(magnitude(a), all(0x1p20f), _CMP_LE_OQ))) == 0xff;
  }
  QF_INLINE_MEMBER static bool take_divisor(Vector scales) { return _mm256_movemask_ps(_mm256_cmp_ps(magnitude(scales), all(grouped_formats::kTakesDivisor), _CMP_LT_OQ)) == 0xff; }
  QF_INLINE_MEMBER static void store_rows(const GroupedTask& task, std::int64_t row, Vector sums) {
    const std::int64_t rows = task.rows - row;
    if (rows >= 8) return _mm256_storeu_ps(task.y + row, sums);
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, sums);
    for (std::int64_t r = 0; r < rows; ++r) task.y[row + r] = lanes[r];
  }
};

}  // namespace
}  // namespace quantfleet::avx2
