// Codes of one width under group scales to floats, the same loop for all instruction sets: eight columns of as many rows as a vector has.
#pragma once

#include "backends/kernels/cpu/grouped_formats.h"

namespace quantfleet::grouped_formats {

// Rows [kRows part, kRows (part + 1)) of a panel.
//   Lanes::Vector, kRows;  Lanes::read(codes, place, part);  Lanes::numbers(task, scales or zeros, group, part)
//   Lanes::store(target, number, zero, scale): (number x kDivided - zero) x scale
template <class Lanes, int kBits, int kNumbers, class Codes, class Table>
QF_INLINE void decode_rows(const GroupedTask& task, int part, const Table& table) {
  const unsigned char* place = task.codes + task.begin / 8 * 16 * kBits;
  float* target = task.tile + Lanes::kRows * part;
  std::int64_t group = -1, group_end = task.begin;
  typename Lanes::Vector scale{}, zero{};
  for (std::int64_t k = task.begin; k < task.end; k += 8, place += 16 * kBits, target += 128) {
    Codes codes;
    Lanes::read(codes, place, part);
    const auto store = [&](int i) { Lanes::template store<kNumbers>(target + 16 * i, codes.value(i, table), zero, scale); };
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
        scale = Lanes::numbers(task, task.scales, group, part);
        if (task.zeros) zero = Lanes::numbers(task, task.zeros, group, part);
      }
      store(i);
    }
  }
}

}  // namespace quantfleet::grouped_formats
