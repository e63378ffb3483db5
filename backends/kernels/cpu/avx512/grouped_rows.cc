// Codes under group scales to floats, eight columns of sixteen rows at a time: a lane is a row.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"

namespace quantfleet::avx512 {
namespace {

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  const unsigned char* place = task.codes + task.begin / 8 * 16 * kBits;
  float* target = task.tile;
  std::int64_t group = -1, group_end = task.begin;
  __m512 scale = _mm512_setzero_ps(), zero = scale;
  for (std::int64_t k = task.begin; k < task.end; k += 8, place += 16 * kBits, target += 128) {
    Codes<kBits, kNumbers> codes;
    codes.read(place);
    const auto store = [&](int i) {
      const __m512 number = _mm512_mul_ps(codes.value(i, table), _mm512_set1_ps(kDivided<kNumbers>));
      _mm512_store_ps(target + 16 * i, _mm512_mul_ps(_mm512_sub_ps(number, zero), scale));
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
        scale = row_numbers(task, task.scales, group);
        if (task.zeros) zero = row_numbers(task, task.zeros, group);
      }
      store(i);
    }
  }
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.mixed) return decode_mixed(task);
  for_codes(task, [&task]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task); });
}

}  // namespace quantfleet::avx512
