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

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.mixed) return decode_mixed(task);
  for (int half = 0; half < 2; ++half) for_codes(task, [&]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task, half); });
}

}  // namespace quantfleet::avx2
