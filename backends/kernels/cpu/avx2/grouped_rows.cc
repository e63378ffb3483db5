// Codes under group scales to floats, eight columns of sixteen rows at a time, in two halves of eight rows: a lane is a row.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/row_kernels.h"

#include <immintrin.h>

namespace quantfleet::avx2 {
namespace {

#define QF_INLINE [[gnu::always_inline]] static inline

QF_INLINE __m256i bytes8(const unsigned char* p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }

template <int kBits>
QF_INLINE void unpack(const unsigned char* p, __m256i (&code)[8]) {
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) code[i] = bytes8(p + 16 * i);
    return;
  }
  constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) code[i] = _mm256_setzero_si256();
  if constexpr (kFour != 0) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m256i v = bytes8(p + 16 * j);
      code[j] = _mm256_and_si256(v, _mm256_set1_epi32(15));
      code[j + 4] = _mm256_srli_epi32(v, 4);
    }
    p += 64;
  }
  if constexpr (kTwo != 0) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m256i v = bytes8(p + 16 * j);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i two = _mm256_and_si256(_mm256_srli_epi32(v, 2 * i), _mm256_set1_epi32(3));
        code[4 * j + i] = _mm256_or_si256(code[4 * j + i], _mm256_slli_epi32(two, kFour));
      }
    }
    p += 32;
  }
  if constexpr (kOne != 0) {
    const __m256i v = bytes8(p);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m256i one = _mm256_and_si256(_mm256_srli_epi32(v, i), _mm256_set1_epi32(1));
      code[i] = _mm256_or_si256(code[i], _mm256_slli_epi32(one, kFour + kTwo));
    }
  }
}

// kNumbers: 0 integers, 1 table, 2 E4M3, 3 E5M2
template <int kNumbers>
QF_INLINE __m256 number(__m256i code, __m256i offset, __m256 low, __m256 high) {
  if constexpr (kNumbers == 0) return _mm256_cvtepi32_ps(_mm256_sub_epi32(code, offset));
  if constexpr (kNumbers == 1)
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code), _mm256_permutevar8x32_ps(high, code), _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
  constexpr int kShift = kNumbers == 2 ? 20 : 21;
  const __m256i magnitude = _mm256_slli_epi32(_mm256_and_si256(code, _mm256_set1_epi32(127)), kShift);
  const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(code, _mm256_set1_epi32(128)), 24);
  return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_or_si256(magnitude, sign)), _mm256_set1_ps(kNumbers == 2 ? 0x1p120f : 0x1p112f));
}

// Of eight of the sixteen rows.
QF_INLINE __m256 row_numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int half) {
  if (task.kept == 0) return _mm256_loadu_ps(reinterpret_cast<const float*>(numbers + 64 * group + 32 * half));
  if (task.kept == 1) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers + 32 * group + 16 * half)));
  const __m256 none = _mm256_setzero_ps();
  return _mm256_div_ps(number<2>(bytes8(numbers + 16 * group + 8 * half), _mm256_setzero_si256(), none, none), _mm256_set1_ps(task.divisor));
}

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task, int half) {
  const __m256i offset = _mm256_set1_epi32(task.offset);
  const __m256 low = _mm256_loadu_ps(task.number), high = _mm256_loadu_ps(task.number + 8);
  const unsigned char* codes = task.codes + task.begin / 8 * 16 * kBits + 8 * half;
  float* target = task.tile + 8 * half;
  std::int64_t group = -1, group_end = task.begin;
  __m256 scale = _mm256_setzero_ps(), zero = scale;
  for (std::int64_t k = task.begin; k < task.end; k += 8, codes += 16 * kBits, target += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(codes + 2048), _MM_HINT_T0);
    __m256i code[8];
    unpack<kBits>(codes, code);
    const std::int64_t count = task.end - k < 8 ? task.end - k : 8;
    if (!task.group_of && count == 8 && k + 8 <= group_end) {  // all of one group
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) _mm256_store_ps(target + 16 * i, _mm256_mul_ps(_mm256_sub_ps(number<kNumbers>(code[i], offset, low, high), zero), scale));
      continue;
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      if (i >= count) break;
      const std::int64_t now = task.group_of ? task.group_of[k + i] : k + i < group_end && group >= 0 ? group : (k + i) / task.group_size;
      if (now != group) {
        group = now;
        group_end = (group + 1) * task.group_size;
        scale = row_numbers(task, task.scales, group, half);
        if (task.zeros) zero = row_numbers(task, task.zeros, group, half);
      }
      _mm256_store_ps(target + 16 * i, _mm256_mul_ps(_mm256_sub_ps(number<kNumbers>(code[i], offset, low, high), zero), scale));
    }
  }
}

template <int kBits, int kNumbers>
void both(const GroupedTask& task) {
  for (int half = 0; half < 2; ++half) decode<kBits, kNumbers>(task, half);
}

template <int kBits>
QF_INLINE void mixed_chunk(const GroupedTask& task, const unsigned char* codes, std::int64_t k, int half) {
  __m256i code[8];
  unpack<kBits>(codes + 8 * half, code);
  const __m256i offset = _mm256_set1_epi32(1 << (kBits - 1));
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    if (k + i >= task.end) break;
    const std::int64_t column = task.order[k + i], group = task.group_of[column];
    const __m256 zero = task.zeros ? row_numbers(task, task.zeros, group, half) : _mm256_setzero_ps();
    const __m256 value = _mm256_mul_ps(_mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(code[i], offset)), zero), row_numbers(task, task.scales, group, half));
    _mm256_store_ps(task.tile + 16 * (column - task.begin) + 8 * half, value);
  }
}

void decode_mixed(const GroupedTask& task, int half) {
  for (std::int64_t k = task.begin; k < task.end; k += 8) {
    const unsigned char* codes = task.codes + 16 * static_cast<std::int64_t>(task.chunk_begin[k / 8]);
    switch (task.chunk_bits[k / 8]) {
      case 2: mixed_chunk<2>(task, codes, k, half); break;
      case 3: mixed_chunk<3>(task, codes, k, half); break;
      case 4: mixed_chunk<4>(task, codes, k, half); break;
      case 5: mixed_chunk<5>(task, codes, k, half); break;
      case 6: mixed_chunk<6>(task, codes, k, half); break;
      case 7: mixed_chunk<7>(task, codes, k, half); break;
      default: mixed_chunk<8>(task, codes, k, half); break;
    }
  }
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.order) {
    for (int half = 0; half < 2; ++half) decode_mixed(task, half);
    return;
  }
  switch (task.numbers * 16 + task.bits) {
    case 1: return both<1, 0>(task);
    case 2: return both<2, 0>(task);
    case 3: return both<3, 0>(task);
    case 4: return both<4, 0>(task);
    case 5: return both<5, 0>(task);
    case 6: return both<6, 0>(task);
    case 7: return both<7, 0>(task);
    case 8: return both<8, 0>(task);
    case 17: return both<1, 1>(task);
    case 20: return both<4, 1>(task);
    case 40: return both<8, 2>(task);
    case 56: return both<8, 3>(task);
    default: return;
  }
}

}  // namespace quantfleet::avx2
