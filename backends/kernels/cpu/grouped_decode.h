// Codes under group scales to floats, the same loops for all instruction sets.  Lanes: a family's vectors (its grouped_codes.h)
#pragma once

#include "backends/kernels/cpu/grouped_formats.h"

namespace quantfleet::grouped_formats {

// Codes of one width, eight columns at a time: a part of a panel's rows.
template <class Lanes, int kBits, int kNumbers>
[[gnu::noinline]] static void decode_part(const GroupedTask& task, int part) {
  const typename Lanes::template TableOf<kBits, kNumbers> table(task.number, task.offset);
  const unsigned char* place = task.codes + task.begin / 8 * 16 * kBits;
  float* target = task.tile + Lanes::kRows * part;
  std::int64_t group = -1, group_end = task.begin;
  typename Lanes::Vector scale = Lanes::all(0), zero = scale;
  for (std::int64_t k = task.begin; k < task.end; k += 8, place += 16 * kBits, target += 128) {
    typename Lanes::template CodesOf<kBits, kNumbers> codes;
    Lanes::read(codes, place, part);
    const auto store = [&](int i) {
      const auto number = Lanes::mul(codes.value(i, table), Lanes::all(kDivided<kNumbers>));
      Lanes::store(target + 16 * i, Lanes::mul(Lanes::sub(number, zero), scale));
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
        scale = Lanes::numbers(task, task.scales, group, part);
        if (task.zeros) zero = Lanes::numbers(task, task.zeros, group, part);
      }
      store(i);
    }
  }
}

// Codes of different widths, each from its word.
template <class Lanes>
QF_INLINE void decode_mixed(const GroupedTask& task) {
  for (std::int64_t k = task.begin; k < task.end; ++k) {
    const typename Lanes::MixedCodes column(task.mixed[k]);
    for (int part = 0; part < Lanes::kParts; ++part) {
      auto value = column.value(task.codes, part);
      if (task.zeros) value = Lanes::sub(value, Lanes::numbers(task, task.zeros, task.group_of[k], part));
      Lanes::store(task.tile + 16 * (k - task.begin) + Lanes::kRows * part, Lanes::mul(value, Lanes::numbers(task, task.scales, task.group_of[k], part)));
    }
  }
}

template <class Lanes>
QF_INLINE void decode_grouped(const GroupedTask& task) {
  if (task.mixed) return decode_mixed<Lanes>(task);
  for (int part = 0; part < Lanes::kParts; ++part) for_codes(task, [&]<int kBits, int kNumbers>() { decode_part<Lanes, kBits, kNumbers>(task, part); });
}

}  // namespace quantfleet::grouped_formats
