// Codes under group scales to floats, eight columns of sixteen rows at a time: a lane is a row.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/row_kernels.h"

#include <immintrin.h>

namespace quantfleet::avx512 {
namespace {

#define QF_INLINE [[gnu::always_inline]] static inline
#define QF_INLINE_MEMBER [[gnu::always_inline]] inline

QF_INLINE __m512i bytes16(const unsigned char* p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }

template <int kBits>
QF_INLINE void unpack(const unsigned char* p, __m512i (&code)[8]) {
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) code[i] = bytes16(p + 16 * i);
    return;
  }
  constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) code[i] = _mm512_setzero_si512();
  if constexpr (kFour != 0) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i v = bytes16(p + 16 * j);
      code[j] = _mm512_and_si512(v, _mm512_set1_epi32(15));
      code[j + 4] = _mm512_srli_epi32(v, 4);
    }
    p += 64;
  }
  if constexpr (kTwo != 0) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512i v = bytes16(p + 16 * j);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m512i two = _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(2 * i)), _mm512_set1_epi32(3));
        code[4 * j + i] = _mm512_or_si512(code[4 * j + i], _mm512_slli_epi32(two, kFour));
      }
    }
    p += 32;
  }
  if constexpr (kOne != 0) {
    const __m512i v = bytes16(p);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512i one = _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(i)), _mm512_set1_epi32(1));
      code[i] = _mm512_or_si512(code[i], _mm512_slli_epi32(one, static_cast<unsigned>(kFour + kTwo)));
    }
  }
}

// kNumbers: 0 integers, 1 table, 2 E4M3, 3 E5M2
template <int kNumbers>
QF_INLINE __m512 number(__m512i code, __m512i offset, __m512 table) {
  if constexpr (kNumbers == 0) return _mm512_cvtepi32_ps(_mm512_sub_epi32(code, offset));
  if constexpr (kNumbers == 1) return _mm512_permutexvar_ps(code, table);
  constexpr unsigned kShift = kNumbers == 2 ? 20 : 21;
  const __m512i magnitude = _mm512_slli_epi32(_mm512_and_si512(code, _mm512_set1_epi32(127)), kShift);
  const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(code, _mm512_set1_epi32(128)), 24);
  return _mm512_mul_ps(_mm512_castsi512_ps(_mm512_or_si512(magnitude, sign)), _mm512_set1_ps(kNumbers == 2 ? 0x1p120f : 0x1p112f));
}

QF_INLINE __m512 row_numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group) {
  if (task.kept == 0) return _mm512_loadu_ps(numbers + 64 * group);
  if (task.kept == 1) return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers + 32 * group)));
  return _mm512_div_ps(number<2>(bytes16(numbers + 16 * group), _mm512_setzero_si512(), _mm512_setzero_ps()), _mm512_set1_ps(task.divisor));
}

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task) {
  const __m512i offset = _mm512_set1_epi32(task.offset);
  const __m512 table = kNumbers == 1 ? _mm512_loadu_ps(task.number) : _mm512_setzero_ps();
  const unsigned char* codes = task.codes + task.begin / 8 * 16 * kBits;
  float* target = task.tile;
  std::int64_t group = -1, group_end = task.begin;
  __m512 scale = _mm512_setzero_ps(), zero = scale;
  for (std::int64_t k = task.begin; k < task.end; k += 8, codes += 16 * kBits, target += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(codes + 2048), _MM_HINT_T0);
    __m512i code[8];
    unpack<kBits>(codes, code);
    const std::int64_t count = task.end - k < 8 ? task.end - k : 8;
    if (!task.group_of && count == 8 && k + 8 <= group_end) {  // all of one group
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) _mm512_store_ps(target + 16 * i, _mm512_mul_ps(_mm512_sub_ps(number<kNumbers>(code[i], offset, table), zero), scale));
      continue;
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      if (i >= count) break;
      const std::int64_t now = task.group_of ? task.group_of[k + i] : k + i < group_end && group >= 0 ? group : (k + i) / task.group_size;
      if (now != group) {
        group = now;
        group_end = (group + 1) * task.group_size;
        scale = row_numbers(task, task.scales, group);
        if (task.zeros) zero = row_numbers(task, task.zeros, group);
      }
      _mm512_store_ps(target + 16 * i, _mm512_mul_ps(_mm512_sub_ps(number<kNumbers>(code[i], offset, table), zero), scale));
    }
  }
}

// One token: values go from the codes into the chain without a tile between. Four panels at once, because a chain waits four cycles for
// each of its sums.
constexpr int kPanelsAtOnce = 4;

// Eight columns of a panel of codes, as many instructions away from their values as registers allow: of 4 bits the bytes, of 8 the place.
template <int kBits>
struct Codes {
  __m512i code[8];
  QF_INLINE_MEMBER void read(const unsigned char* p) { unpack<kBits>(p, code); }
  template <int kNumbers>
  QF_INLINE_MEMBER __m512 value(int i, __m512i offset, __m512 table) const { return number<kNumbers>(code[i], offset, table); }
};
template <>
struct Codes<4> {
  __m512i two[4];
  QF_INLINE_MEMBER void read(const unsigned char* p) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) two[j] = bytes16(p + 16 * j);
  }
  template <int kNumbers>
  QF_INLINE_MEMBER __m512 value(int i, __m512i, __m512 table) const {  // a permutation reads four bits of an index
    return _mm512_permutexvar_ps(i < 4 ? two[i] : _mm512_srli_epi32(two[i - 4], 4), table);
  }
};
template <>
struct Codes<8> {
  const unsigned char* place;
  QF_INLINE_MEMBER void read(const unsigned char* p) { place = p; }
  // FP8 by the bits of a half: E4M3, whose exponent has a bit less, divided by 2^8.
  template <int kNumbers>
  QF_INLINE_MEMBER __m512 value(int i, __m512i offset, __m512 table) const {
    if constexpr (kNumbers < 2) return number<kNumbers>(bytes16(place + 16 * i), offset, table);
    const __m256i code = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(place + 16 * i)));
    if constexpr (kNumbers == 3) return _mm512_cvtph_ps(_mm256_slli_epi16(code, 8));
    return _mm512_cvtph_ps(_mm256_and_si256(_mm256_slli_epi16(code, 7), _mm256_set1_epi16(static_cast<short>(0xbfff))));
  }
};

template <int kBits, int kNumbers, bool kZeros, int kPanels>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, __m512i offset, __m512 table) {
  constexpr float kMore = kNumbers == 2 ? 256.0f : 1.0f;  // exact: scales are at most 1e30
  const std::int64_t at = panel * task.panel_bytes, chunks = task.group_size / 8;
  const unsigned char* codes = task.codes + at;
  __m512 acc[kPanels], scale[kPanels], zero[kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) acc[p] = zero[p] = scale[p] = _mm512_setzero_ps();
  std::int64_t left = 0, group = 0;  // chunks of the group
  for (std::int64_t k = 0; k < task.end; k += 8, codes += 16 * kBits) {
    if (left-- == 0) {
      left = chunks - 1;
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        scale[p] = _mm512_mul_ps(row_numbers(task, task.scales + at + p * task.panel_bytes, group), _mm512_set1_ps(kMore));
        if constexpr (kZeros) zero[p] = row_numbers(task, task.zeros + at + p * task.panel_bytes, group);
      }
      ++group;
    }
    Codes<kBits> panels[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const unsigned char* place = codes + p * task.panel_bytes;
      for (int line = 0; line < 16 * kBits; line += 64) _mm_prefetch(reinterpret_cast<const char*>(place + line + 4096), _MM_HINT_T1);
      panels[p].read(place);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512 x = _mm512_set1_ps(task.x[k + i]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        __m512 value = panels[p].template value<kNumbers>(i, offset, table);
        if constexpr (kZeros) value = _mm512_sub_ps(value, zero[p]);
        acc[p] = _mm512_fmadd_ps(_mm512_mul_ps(value, scale[p]), x, acc[p]);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const std::int64_t rows = task.rows - 16 * (panel + p);
    _mm512_mask_storeu_ps(task.y + 16 * (panel + p), rows >= 16 ? 0xffff : static_cast<__mmask16>((1u << rows) - 1), acc[p]);
  }
}

template <int kBits, int kNumbers, bool kZeros>
[[gnu::noinline]] void multiply(const GroupedTask& task) {
  const __m512i offset = _mm512_set1_epi32(task.offset);
  __m512 table = _mm512_setzero_ps();
  if constexpr (kNumbers == 1) table = _mm512_loadu_ps(task.number);
  else if constexpr (kNumbers == 0 && kBits == 4)
    table = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), offset));
  int panel = 0;
  for (; panel + kPanelsAtOnce <= task.panels; panel += kPanelsAtOnce) multiply_panels<kBits, kNumbers, kZeros, kPanelsAtOnce>(task, panel, offset, table);
  for (; panel < task.panels; ++panel) multiply_panels<kBits, kNumbers, kZeros, 1>(task, panel, offset, table);
}

template <int kBits>
QF_INLINE void mixed_chunk(const GroupedTask& task, const unsigned char* codes, std::int64_t k) {
  __m512i code[8];
  unpack<kBits>(codes, code);
  const __m512i offset = _mm512_set1_epi32(1 << (kBits - 1));
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    if (k + i >= task.end) break;
    const std::int64_t column = task.order[k + i], group = task.group_of[column];
    const __m512 zero = task.zeros ? row_numbers(task, task.zeros, group) : _mm512_setzero_ps();
    const __m512 value = _mm512_mul_ps(_mm512_sub_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(code[i], offset)), zero), row_numbers(task, task.scales, group));
    _mm512_store_ps(task.tile + 16 * (column - task.begin), value);
  }
}

void decode_mixed(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; k += 8) {
    const unsigned char* codes = task.codes + 16 * static_cast<std::int64_t>(task.chunk_begin[k / 8]);
    switch (task.chunk_bits[k / 8]) {
      case 2: mixed_chunk<2>(task, codes, k); break;
      case 3: mixed_chunk<3>(task, codes, k); break;
      case 4: mixed_chunk<4>(task, codes, k); break;
      case 5: mixed_chunk<5>(task, codes, k); break;
      case 6: mixed_chunk<6>(task, codes, k); break;
      case 7: mixed_chunk<7>(task, codes, k); break;
      default: mixed_chunk<8>(task, codes, k); break;
    }
  }
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

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.order) return decode_mixed(task);
  for_codes(task, [&task]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task); });
}

void multiply_grouped(const GroupedTask& task) {
  for_codes(task, [&task]<int kBits, int kNumbers>() {
    if (task.zeros) multiply<kBits, kNumbers, true>(task);
    else multiply<kBits, kNumbers, false>(task);
  });
}

}  // namespace quantfleet::avx512
