// Codes under group scales to floats, eight columns of sixteen rows at a time: a lane is a row.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/row_kernels.h"

#include <immintrin.h>

namespace quantfleet::avx512 {
namespace {

#define QF_INLINE [[gnu::always_inline]] static inline

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

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.order) return decode_mixed(task);
  switch (task.numbers * 16 + task.bits) {
    case 1: return decode<1, 0>(task);
    case 2: return decode<2, 0>(task);
    case 3: return decode<3, 0>(task);
    case 4: return decode<4, 0>(task);
    case 5: return decode<5, 0>(task);
    case 6: return decode<6, 0>(task);
    case 7: return decode<7, 0>(task);
    case 8: return decode<8, 0>(task);
    case 17: return decode<1, 1>(task);
    case 20: return decode<4, 1>(task);
    case 40: return decode<8, 2>(task);
    case 56: return decode<8, 3>(task);
    default: return;
  }
}

}  // namespace quantfleet::avx512
