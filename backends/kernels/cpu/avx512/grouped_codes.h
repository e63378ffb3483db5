// Codes of 1 to 8 bits in panels of sixteen rows (cpu/grouped_task.h), eight columns at a time, to numbers: a lane is a row.
#pragma once

#include "backends/kernels/cpu/grouped_task.h"

#include <immintrin.h>

namespace quantfleet::avx512 {
namespace {

#define QF_INLINE [[gnu::always_inline]] static inline
#define QF_INLINE_MEMBER [[gnu::always_inline]] inline

QF_INLINE __m512i bytes16(const unsigned char* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }

// What codes of a matrix stand for. Up to 5 bits: low[code], from 16 on high[code - 16]; fewer than 4 bits are repeated, so that what
// lies above a code's bits does not matter. Integers of more bits: low is what to take off 2^23 + code.
struct CodeTable {
  __m512 low, high;
};

QF_INLINE __m512 integers_from(int first, int mask, int offset) {
  const __m512i code = _mm512_add_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(first));
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_and_si512(code, _mm512_set1_epi32(mask)), _mm512_set1_epi32(offset)));
}

// kNumbers here and below: 0 integers, 1 table, 2 E4M3, 3 E5M2
template <int kBits, int kNumbers>
QF_INLINE CodeTable code_table(const float* number, int offset) {
  if constexpr (kNumbers >= 2) return {_mm512_setzero_ps(), _mm512_setzero_ps()};
  if constexpr (kNumbers == 1) return {kBits == 1 ? _mm512_setr_ps(number[0], number[1], number[0], number[1], number[0], number[1], number[0], number[1], number[0], number[1], number[0], number[1], number[0], number[1], number[0], number[1]) : _mm512_loadu_ps(number), _mm512_setzero_ps()};
  if constexpr (kBits > 5) return {_mm512_set1_ps(8388608.0f + static_cast<float>(offset)), _mm512_setzero_ps()};
  constexpr int kMask = (1 << kBits) - 1;
  return {integers_from(0, kMask, offset), integers_from(16, kMask, offset)};
}

// What E4M3 numbers come out divided by.
template <int kNumbers>
inline constexpr float kDivided = kNumbers == 2 ? 256.0f : 1.0f;

// Eight columns, as many instructions away from their numbers as registers allow: up to 7 bits the bytes of the parts, of 8 the place.
template <int kBits>
struct Codes {
  static constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1;
  __m512i four[4], two[2], one;

  QF_INLINE_MEMBER void read(const unsigned char* p) {
    if constexpr (kFour != 0)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) four[j] = bytes16(p + 16 * j);
    p += 16 * kFour;
    if constexpr (kTwo != 0)
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) two[j] = bytes16(p + 16 * j);
    p += 16 * kTwo;
    if constexpr (kOne != 0) one = bytes16(p);
  }

  // The bits from `from` on brought to `to`.
  QF_INLINE_MEMBER static __m512i moved(__m512i v, int from, int to) {
    return from > to ? _mm512_srli_epi32(v, static_cast<unsigned>(from - to)) : from < to ? _mm512_slli_epi32(v, static_cast<unsigned>(to - from)) : v;
  }

  // low's bits below `width`, upper's from there on.
  QF_INLINE_MEMBER static __m512i joined(__m512i low, __m512i upper, int width) { return _mm512_ternarylogic_epi32(_mm512_set1_epi32((1 << width) - 1), low, upper, 0xca); }

  // Column i's code under other bits.
  QF_INLINE_MEMBER __m512i code(int i) const {
    if constexpr (kBits == 1) return moved(one, i, 0);
    const __m512i twos = kTwo ? moved(two[i / 4], 2 * (i % 4), kFour) : _mm512_setzero_si512();
    if constexpr (kFour == 0) return kOne ? joined(twos, moved(one, i, 2), 2) : twos;
    const __m512i fours = i < 4 ? four[i] : _mm512_srli_epi32(four[i - 4], 4);
    const __m512i sixes = kTwo ? joined(fours, twos, 4) : fours;
    return kOne ? joined(sixes, moved(one, i, kFour + kTwo), kFour + kTwo) : sixes;
  }

  template <int kNumbers>
  QF_INLINE_MEMBER __m512 value(int i, const CodeTable& table) const {
    if constexpr (kBits <= 4) return _mm512_permutexvar_ps(code(i), table.low);
    if constexpr (kBits == 5) return _mm512_permutex2var_ps(table.low, code(i), table.high);
    const __m512i raised = _mm512_ternarylogic_epi32(code(i), _mm512_set1_epi32((1 << kBits) - 1), _mm512_set1_epi32(0x4b000000), 0xea);
    return _mm512_sub_ps(_mm512_castsi512_ps(raised), table.low);
  }
};
template <>
struct Codes<8> {
  const unsigned char* place;
  QF_INLINE_MEMBER void read(const unsigned char* p) { place = p; }
  // FP8 by the bits of a half: E4M3's exponent has a bit less, so that its numbers come out divided by 2^8.
  template <int kNumbers>
  QF_INLINE_MEMBER __m512 value(int i, const CodeTable& table) const {
    if constexpr (kNumbers == 0) {
      const __m512i raised = _mm512_or_si512(bytes16(place + 16 * i), _mm512_set1_epi32(0x4b000000));
      return _mm512_sub_ps(_mm512_castsi512_ps(raised), table.low);
    }
    const __m256i code = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(place + 16 * i)));
    if constexpr (kNumbers == 3) return _mm512_cvtph_ps(_mm256_slli_epi16(code, 8));
    return _mm512_cvtph_ps(_mm256_and_si256(_mm256_slli_epi16(code, 7), _mm256_set1_epi16(static_cast<short>(0xbfff))));
  }
};

// A group's scales or zero points.
QF_INLINE __m512 row_numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group) {
  if (task.kept == 0) return _mm512_loadu_ps(numbers + 64 * group);
  if (task.kept == 1) return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers + 32 * group)));
  Codes<8> codes;
  codes.read(numbers + 16 * group);
  const __m512 exact = _mm512_mul_ps(codes.value<2>(0, CodeTable{}), _mm512_set1_ps(kDivided<2>));
  return _mm512_div_ps(exact, _mm512_set1_ps(task.divisor));
}

// Calls body for the width and kind of the codes.
template <class Body>
QF_INLINE void for_codes(const GroupedTask& task, Body body) {
  switch (task.numbers * 16 + task.bits) {
    case 1: return body.template operator()<1, 0>();
    case 2: return body.template operator()<2, 0>();
    case 3: return body.template operator()<3, 0>();
    case 4: return body.template operator()<4, 0>();
    case 5: return body.template operator()<5, 0>();
    case 6: return body.template operator()<6, 0>();
    case 7: return body.template operator()<7, 0>();
    case 8: return body.template operator()<8, 0>();
    case 17: return body.template operator()<1, 1>();
    case 20: return body.template operator()<4, 1>();
    case 40: return body.template operator()<8, 2>();
    case 56: return body.template operator()<8, 3>();
    default: return;
  }
}

QF_INLINE void prefetch_chunk(const unsigned char* place, int bytes) {
  for (int line = 0; line < bytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(place + line + 4096), _MM_HINT_T1);
}

QF_INLINE void store_rows(const GroupedTask& task, int panel, __m512 sums) {
  const std::int64_t rows = task.rows - 16 * panel;
  _mm512_mask_storeu_ps(task.y + 16 * panel, rows >= 16 ? 0xffff : static_cast<__mmask16>((1u << rows) - 1), sums);
}

// The scales or zero points of all groups of a panel as floats.  floats [groups][16]
QF_INLINE void widen_numbers(const GroupedTask& task, const unsigned char* numbers, float* floats) {
  for (std::int64_t g = 0; g < task.groups; ++g) _mm512_store_ps(floats + 16 * g, row_numbers(task, numbers, g));
}

}  // namespace
}  // namespace quantfleet::avx512
