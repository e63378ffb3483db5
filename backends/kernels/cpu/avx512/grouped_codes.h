// Codes of 1 to 8 bits in panels of sixteen rows (cpu/grouped_task.h), eight columns at a time, to numbers: a lane is a row.
#pragma once

#include "backends/kernels/cpu/grouped_formats.h"

#include <immintrin.h>

namespace quantfleet::avx512 {

using grouped_formats::kDivided;
using grouped_formats::kWindows;

namespace {

QF_INLINE __m512i bytes16(const unsigned char* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }

// What turns codes of column i of a chunk into numbers: of integers what to take off, of a table the numbers of codes.
template <int kBits, int kNumbers>
struct CodeTable {
  __m512 of[8];

  QF_INLINE_MEMBER CodeTable(const float* number, int offset) {
    if constexpr (kNumbers == 0)
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) of[i] = _mm512_set1_ps(static_cast<float>(1 << (23 - kBits * i % 16)) + static_cast<float>(offset));
    if constexpr (kNumbers == 1 && kBits == 4) of[0] = _mm512_loadu_ps(number);
    if constexpr (kNumbers == 1 && kBits == 1) of[0] = _mm512_mask_blend_ps(0xaaaa, _mm512_set1_ps(number[0]), _mm512_set1_ps(number[1]));
  }
};

// The strings of eight columns' codes, through windows.
template <int kBits, int kNumbers>
struct Codes {
  __m512i window[kWindows<kBits>];

  QF_INLINE_MEMBER void read(const unsigned char* p) {
    if constexpr (kBits == 8) {
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        window[2 * j] = _mm512_loadu_si512(p + 64 * j);
        window[2 * j + 1] = _mm512_srli_epi32(window[2 * j], 16);
      }
      return;
    }
    const unsigned char *words = p + (kBits & 4 ? 64 : 0), *bytes = words + (kBits & 2 ? 32 : 0);
    __m512i rest = _mm512_setzero_si512();  // behind the first 32 bits
    if constexpr ((kBits & 2) != 0) rest = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
    if constexpr ((kBits & 3) == 3) rest = _mm512_or_si512(rest, _mm512_slli_epi32(bytes16(bytes), 16));
    if constexpr ((kBits & 3) == 1) rest = bytes16(bytes);
    constexpr int kFirst = kBits & 4 ? 2 : 0;
    if constexpr (kFirst != 0) {
      window[0] = _mm512_loadu_si512(p);
      window[1] = _mm512_srli_epi32(window[0], 16);
      if constexpr ((kBits & 3) != 0) window[1] = _mm512_or_si512(window[1], _mm512_slli_epi32(rest, 16));
    }
    if constexpr (kWindows<kBits> > kFirst) window[kFirst] = rest;
    if constexpr (kWindows<kBits> > kFirst + 1) window[kFirst + 1] = _mm512_srli_epi32(rest, 16);
  }

  // Column i's code where it stands, under the exponent that makes its bits units: 2^(23 - place) + code.
  QF_INLINE_MEMBER __m512 raised(int i) const {
    const int place = kBits * i % 16;
    const __m512i code = _mm512_set1_epi32(((1 << kBits) - 1) << place), exponent = _mm512_set1_epi32((150 - place) << 23);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(window[kBits * i / 16], code, exponent, 0xea));
  }

  QF_INLINE_MEMBER __m512 value(int i, const CodeTable<kBits, kNumbers>& table) const {
    if constexpr (kNumbers == 0) return _mm512_sub_ps(raised(i), table.of[i]);
    const int place = kBits * i % 16;
    const __m512i bits = window[kBits * i / 16];
    return _mm512_permutexvar_ps(place ? _mm512_srli_epi32(bits, static_cast<unsigned>(place)) : bits, table.of[0]);
  }
};

// FP8: by the bits of an F32; numbers come out divided by kDivided.
template <int kNumbers>
  requires(kNumbers >= 2)
struct Codes<8, kNumbers> {
  __m512i pair[2][2];  // the upper halves of numbers: columns 4 j and 4 j + 2; those behind them

  QF_INLINE_MEMBER static __m512i upper_halves(__m512i codes) {
    if constexpr (kNumbers == 2) return _mm512_and_si512(_mm512_srai_epi16(codes, 4), _mm512_set1_epi16(static_cast<short>(0x87f0)));
    return _mm512_and_si512(_mm512_srai_epi16(codes, 3), _mm512_set1_epi16(static_cast<short>(0x8fe0)));
  }
  QF_INLINE_MEMBER void read(const unsigned char* p) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512i codes = _mm512_loadu_si512(p + 64 * j);
      pair[j][0] = upper_halves(_mm512_slli_epi16(codes, 8));
      pair[j][1] = upper_halves(codes);
    }
  }
  QF_INLINE_MEMBER __m512 value(int i, const CodeTable<8, kNumbers>&) const {
    const __m512i halves = pair[i / 4][i % 2];
    return _mm512_castsi512_ps(i % 4 < 2 ? _mm512_slli_epi32(halves, 16) : _mm512_and_si512(halves, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
  }
};

// A group's scales or zero points.
QF_INLINE __m512 row_numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group) {
  if (task.kept == 0) return _mm512_loadu_ps(numbers + 64 * group);
  if (task.kept == 1) return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers + 32 * group)));
  const __m512i codes = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers + 16 * group)));
  const __m512i bits = _mm512_and_si512(_mm512_slli_epi32(codes, 20), _mm512_set1_epi32(static_cast<int>(0x87f00000)));
  return _mm512_div_ps(_mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(kDivided<2>)), _mm512_set1_ps(task.divisor));
}

// Panels of sixteen rows as the loops of cpu/grouped_decode.h and cpu/grouped_product.h see them.
struct GroupedLanes {
  using Vector = __m512;
  static constexpr int kRows = 16, kParts = 1, kPanelsAtOnce = 4;
  static constexpr bool kVectorByVector = false;
  static constexpr int kAheadBytes = 2 << 10;  // of each panel: four streams at once leave the processor's prefetchers behind
  template <int kBits, int kNumbers>
  using CodesOf = Codes<kBits, kNumbers>;
  template <int kBits, int kNumbers>
  using TableOf = CodeTable<kBits, kNumbers>;

  // A column of codes of different widths.
  struct MixedCodes {
    __m512i shift, mask;
    __m512 middle;
    std::int64_t at;  // bytes into the codes

    QF_INLINE_MEMBER explicit MixedCodes(const MixedColumn& column)
        : shift(_mm512_set1_epi32(static_cast<int>(column.shift))), mask(_mm512_set1_epi32(static_cast<int>(column.mask))), middle(_mm512_set1_ps(column.middle)),
          at(64 * static_cast<std::int64_t>(column.word)) {}
    QF_INLINE_MEMBER __m512 value(const unsigned char* codes, int) const {
      const __m512i word = _mm512_srlv_epi32(_mm512_loadu_si512(codes + at), shift);
      return _mm512_sub_ps(_mm512_castsi512_ps(_mm512_ternarylogic_epi32(word, mask, _mm512_set1_epi32(0x4b000000), 0xea)), middle);
    }
  };

  template <int kBits, int kNumbers>
  QF_INLINE_MEMBER static void read(Codes<kBits, kNumbers>& codes, const unsigned char* place, int) { codes.read(place); }
  template <int kBits, int kNumbers>
  QF_INLINE_MEMBER static void read_stream(Codes<kBits, kNumbers>& codes, const unsigned char* place, int) {
#pragma GCC unroll 2
    for (int line = 0; line < 16 * kBits; line += 64) _mm_prefetch(reinterpret_cast<const char*>(place + kAheadBytes + line), _MM_HINT_T1);
    codes.read(place);
  }
  QF_INLINE_MEMBER static Vector numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int) { return row_numbers(task, numbers, group); }
  QF_INLINE_MEMBER static Vector all(float value) { return _mm512_set1_ps(value); }
  QF_INLINE_MEMBER static Vector load(const float* p) { return _mm512_load_ps(p); }
  QF_INLINE_MEMBER static void store(float* p, Vector a) { _mm512_store_ps(p, a); }
  QF_INLINE_MEMBER static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  QF_INLINE_MEMBER static Vector sub(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
  QF_INLINE_MEMBER static Vector mul(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  QF_INLINE_MEMBER static Vector fma(Vector a, float x, Vector c) { return _mm512_fmadd_ps(a, all(x), c); }
  // Integers that stay exact when 2^23 is added.
  QF_INLINE_MEMBER static bool whole(Vector a) {
    return _mm512_cmp_ps_mask(_mm512_roundscale_ps(a, 8), a, _CMP_EQ_OQ) == 0xffff && _mm512_cmp_ps_mask(_mm512_abs_ps(a), all(0x1p20f), _CMP_LE_OQ) == 0xffff;
  }
  QF_INLINE_MEMBER static bool take_divisor(Vector scales) { return _mm512_cmp_ps_mask(_mm512_abs_ps(scales), all(grouped_formats::kTakesDivisor), _CMP_LT_OQ) == 0xffff; }
  QF_INLINE_MEMBER static void store_rows(const GroupedTask& task, std::int64_t row, Vector sums) {
    const std::int64_t rows = task.rows - row;
    _mm512_mask_storeu_ps(task.y + row, rows >= 16 ? 0xffff : static_cast<__mmask16>((1u << rows) - 1), sums);
  }
};

}  // namespace
}  // namespace quantfleet::avx512
