// Codes under group scales to floats, eight columns of sixteen rows at a time, in two halves of eight rows: a lane is a row.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"

namespace quantfleet::avx2 {
namespace {

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task, int half) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  const unsigned char* place = task.codes + task.begin / 8 * 16 * kBits;
  float* target = task.tile + 8 * half;
  std::int64_t group = -1, group_end = task.begin;
  __m256 scale = _mm256_setzero_ps(), zero = scale;
  for (std::int64_t k = task.begin; k < task.end; k += 8, place += 16 * kBits, target += 128) {
    _mm_prefetch(reinterpret_cast<const char*>(place + 2048), _MM_HINT_T0);
    Codes<kBits, kNumbers> codes;
    codes.read(place, half);
    const auto store = [&](int i) {
      const __m256 number = _mm256_mul_ps(codes.value(i, table), _mm256_set1_ps(kDivided<kNumbers>));
      _mm256_store_ps(target + 16 * i, _mm256_mul_ps(_mm256_sub_ps(number, zero), scale));
    };
    const std::int64_t count = task.end - k < 8 ? task.end - k : 8;
    if (!task.group_of && count == 8 && k + 8 <= group_end) {  // all of one group
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) store(i);
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
      store(i);
    }
  }
}

// Codes in planes, of mixed widths.
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
  for (int half = 0; half < 2; ++half) {
    if (task.order) decode_mixed(task, half);
    else for_codes(task, [&]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task, half); });
  }
}

}  // namespace quantfleet::avx2
